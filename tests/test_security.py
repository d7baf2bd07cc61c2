"""What SECURITY.md promises of the source: no pickle is loaded, no text is run as code, no shell is started."""

import ast
from pathlib import Path

import pytest

import train as script

ROOT = Path(script.__file__).parent
FILES = [ROOT / "train.py", *sorted((ROOT / "hemai").rglob("*.py"))]
REFUSED = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen"),
    *("pickle.load", "pickle.loads", "joblib.load", "pd.read_pickle", "torch.hub.load"),
    *("yaml.unsafe_load", "yaml.full_load", "subprocess.getoutput", "subprocess.getstatusoutput"),
}
SAFE_YAML = {"_PlainLoader", "yaml.BaseLoader", "yaml.SafeLoader"}


def calls(file):
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]


def problems(file):
    """Calls that could run code of a file or of a text, as line and source."""
    found = []
    for call in calls(file):
        name, arguments = ast.unparse(call.func), {word.arg: ast.unparse(word.value) for word in call.keywords}
        if (
            name in REFUSED
            or ((name == "torch.load" or "ckpt_path" in arguments) and arguments.get("weights_only") != "True")
            or (name == "yaml.load" and not (len(call.args) == 2 and ast.unparse(call.args[1]) in SAFE_YAML))
            or arguments.get("shell", "False") != "False"
            or arguments.get("allow_pickle", "False") != "False"
        ):
            found.append((call.lineno, ast.unparse(call)))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_runs_no_pickle_no_text_and_no_shell(file):
    assert problems(file) == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(file, allow_pickle=True)",
        "trainer.fit(model, ckpt_path=last)",
        "eval(text)",
        "pickle.load(file)",
        "yaml.load(text, yaml.Loader)",
        "yaml.load(text)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
    ],
)
def test_the_check_finds(line, tmp_path):
    file = tmp_path / "module.py"
    file.write_text(line)
    assert len(problems(file)) == 1


def test_modules_that_could_run_code_are_imported_only_where_they_are_known_to_be_harmless():
    imported = {"pickle": set(), "subprocess": set()}
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in imported.keys() & set(names):
                imported[name].add(file.relative_to(ROOT).as_posix())
    assert imported["pickle"] == set()
    assert imported["subprocess"] == {"hemai/runs/provenance.py", "hemai/training/launch.py"}  # git, train.py


def test_the_rooms_and_files_that_the_page_names_exist():
    page = (ROOT / "SECURITY.md").read_text()
    named = {word for word in page.replace("(", "`").replace(")", "`").split("`") if word.startswith("hemai/")}
    assert named
    for name in named:
        assert (ROOT / name).exists(), name
