"""The commands of README and of the pages in docs/ do what they say."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from typer.testing import CliRunner

import train as script
from hemai import load_run
from hemai.cli import app
from hemai.models import cost as networks
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.training import launch as trainings
from tests.small_run import train_here

ROOT = Path(script.__file__).parent
README = (ROOT / "README.md").read_text()
PAGES = README + "".join((ROOT / "docs" / f"{name}.md").read_text() for name in ("training", "networks", "data"))
EVALUATION = ("evaluate", "crossvalidate", "leakage", "audit", "report", "predict")
SMALL = ["trainer.max_epochs=1", "model.image_size=48", "report=false", "plots=false"]


def commands(start):
    """Lines of the code blocks of README and the pages, each once."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGES, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line.startswith(start)))


def python(word):
    """The block of Python that holds a word."""
    blocks = re.findall(r"```python\n(.*?)```", PAGES, re.DOTALL)
    return next(block for block in blocks if word in block)


@pytest.fixture
def cells(tmp_path, draw_image):
    """Folders for every data set of README, by the name of the data set."""
    for patient in range(1, 7):
        for cell in range(4):
            draw_image(tmp_path / "cnmc" / "fold_0" / "all" / f"UID_{patient}_1_{cell}_all.bmp")
            draw_image(tmp_path / "cnmc" / "fold_0" / "hem" / f"UID_H{patient}_1_{cell}_hem.bmp")
            for label in ("normal", "blast"):
                number = patient + 20 * (label == "blast")
                draw_image(tmp_path / "folder" / label / f"P{number:02}_{cell:04}.png")
                draw_image(tmp_path / "smears" / f"P{number:02}_{cell}_{label}.png")
    for label, malignant in (("Benign", ""), ("Early", "Malignant-"), ("Pre", "Malignant-"), ("Pro", "Malignant-")):
        for number in range(1, 100, 9):
            draw_image(tmp_path / "iranian" / "Original" / label / f"WBC-{malignant}{label}-{number:03}.jpg")
    return tmp_path


def arguments(command, cells):
    words = shlex.split(command)[2:]
    data = next((word.removeprefix("data=") for word in words if word.startswith("data=")), "synthetic")
    words = [re.sub(r"^data\.root=.*", f"data.root={cells / data}", word) for word in words]
    small = ["data.patients=9", "data.cells=90"] if data == "synthetic" else []
    return [word for word in words if not word.startswith("trainer.max_epochs")] + small


TRAINING = [
    line
    for line in commands("python train.py")
    if not re.search(r" -m |--cfg|devices|RUN_FOLDER|HEMAI.pth|smears|pretrained=true|dinobloom|wandb|my_package", line)
]


def test_readme_has_the_commands_that_are_run_here():
    assert "pip install -e . && python train.py" in README
    assert len(TRAINING) >= 5
    assert len(commands("hemai prepare")) >= 2


@pytest.mark.parametrize("command", TRAINING)
def test_training(command, cells):
    overrides = parse_arguments([*arguments(command, cells), *SMALL, f"run_dir={cells / 'run'}"])
    assert script.train(compose(overrides), overrides)["epochs"] == 1


@pytest.mark.parametrize("command", commands("hemai prepare"))
def test_preparation(command, cells):
    done = CliRunner().invoke(app, ["prepare", *arguments(command, cells)])
    assert done.exit_code == 0, done.output


def test_comparison(cells, monkeypatch):
    monkeypatch.chdir(cells)
    folders = [Path("lightning_logs", "synthetic-custom_cnn", name) for name in ("1", "2")]
    for seed, folder in enumerate(folders):
        (folder / ".hydra").mkdir(parents=True)
        OmegaConf.save(compose([f"seed={seed}"]), folder / ".hydra" / "config.yaml", resolve=True)
        OmegaConf.save(OmegaConf.create([f"seed={seed}"]), folder / ".hydra" / "overrides.yaml")
    for command in commands("hemai compare"):
        given = iter(map(str, folders))
        words = [next(given) if word == "RUN_FOLDER" else word for word in shlex.split(command)[1:]]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert done.stdout.count("(unfinished)") >= 2
    assert sorted(path.name for path in (cells / "FOLDER").iterdir()) == ["comparison.csv", "comparison.md"]


@pytest.mark.slow
def test_evaluation(cells, monkeypatch):
    monkeypatch.setattr(trainings.subprocess, "run", train_here)
    overrides = [f"data.root={cells / 'cnmc'}", "data=cnmc", *SMALL, f"run_dir={cells / 'RUN_FOLDER'}"]
    script.train(compose(overrides), overrides)
    found = [line for verb in EVALUATION for line in commands(f"hemai {verb}") if "dinobloom" not in line]  # of the hub
    assert len(found) == 8
    for number, command in enumerate(found):
        words = shlex.split(command)[1:]
        data = next((word.removeprefix("data=") for word in words if word.startswith("data=")), "")
        places = {name: cells / name for name in ("RUN_FOLDER", "FILE.csv")}
        places |= {"FOLDER": cells / f"out{number}", "IMAGES": cells / "cnmc"}
        places |= {"data.root=DIR": f"data.root={cells / data}"}
        small = SMALL if words[0] in ("crossvalidate", "leakage") else []
        done = CliRunner().invoke(app, [*(str(places.get(word, word)) for word in words), *small])
        assert done.exit_code == 0, done.output


def test_networks_at_a_glance(monkeypatch):
    monkeypatch.setattr(networks, "measure_speed", lambda *_: 1.0)
    words = shlex.split(next(line for line in commands("hemai networks") if "--size" in line))[1:]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+) \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \| (\d+) \| ([\d.]+) M \|$", PAGES, re.M
    )
    assert len(rows) == 4
    measured = networks.measure_networks([row[0] for row in rows]).to_dict("records")
    for (_, size, *counts, megabytes, layers, millions), row in zip(rows, measured, strict=True):
        assert int(size) == row["input_px"]
        assert [int(count.replace(",", "")) for count in counts] == [row["trainable"], row["with_batchnorm"]]
        assert (megabytes, int(layers)) == (f"{row['megabytes']:.1f}", row["layers"])
        assert millions == f"{row['multiply_adds'] / 1e6:.1f}"


@pytest.mark.slow
def test_two_devices(cells):
    command = next(line for line in commands("python train.py") if "devices=2" in line)
    words = [*arguments(command, cells), *SMALL, "trainer.accelerator=cpu", "run_dir=run"]
    subprocess.run([sys.executable, script.__file__, *words], cwd=cells, check=True, timeout=200, capture_output=True)
    assert (cells / "run" / "result.json").is_file()


def test_all_settings_are_listed(cells):
    command = next(line for line in commands("python train.py") if "--cfg" in line)
    listed = subprocess.run(
        [sys.executable, script.__file__, *shlex.split(command)[2:]], capture_output=True, text=True, check=True
    )
    assert "batch_size: 32" in listed.stdout


def test_weights_leave_as_a_state_dict_and_come_back(cells, monkeypatch):
    run = cells / "run"
    overrides = [*SMALL, "data.patients=9", "data.cells=90"]
    script.train(compose([*overrides, f"run_dir={run}"]), [])
    monkeypatch.chdir(cells)
    for kind in ("state_dict", "safetensors"):
        line = next(line for line in commands("hemai export") if kind in line)
        CliRunner().invoke(app, shlex.split(line.replace("RUN_FOLDER", str(run)))[1:], catch_exceptions=False)
    names = {}
    exec(python("local-dir"), names)
    own = load_run(run).model.backbone.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in names["network"].state_dict().items())
    command = next(line for line in commands("python train.py") if "HEMAI.pth" in line)
    words = parse_arguments([*shlex.split(command)[2:], *overrides, f"run_dir={cells / 'again'}"])
    assert script.train(compose(words), words)["epochs"] == 1


def test_a_trainer_of_ones_own(cells, monkeypatch):
    monkeypatch.chdir(cells)
    code = python("pl.Trainer").replace("Synthetic, Image", "Synthetic, cells=90, patients=9, transform=Image")
    names = {}
    exec(code.replace("max_epochs=3", "max_epochs=1, accelerator='cpu'"), names)
    assert names["batches"][0]["probabilities"].shape[1] == 2


def test_a_data_set_of_ones_own_is_a_class_and_a_yaml(cells, monkeypatch):
    project = ROOT / "examples" / "smears"
    code = [(project / name).read_text().splitlines() for name in ("smears/dataset.py", "conf/data/smears.yaml")]
    assert sum(map(len, code)) <= 60
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.chdir(ROOT)
    for number, command in enumerate(line for line in commands("python train.py") if "smears" in line):
        words = [word.replace("=DIR", f"={cells / 'smears'}") for word in shlex.split(command)[2:]]
        overrides = parse_arguments([*words, *SMALL, f"run_dir={cells / str(number)}"])
        assert script.train(compose(overrides), overrides)["epochs"] == 1
    assert number == 1


def test_your_own_cells_takes_at_most_ten_lines():
    section = README.split("## Your own cells")[1].split("Or a table")[0]
    assert sum(len(block.splitlines()) for block in re.findall(r"```\w*\n(.*?)```", section, re.DOTALL)) <= 10


def test_readme_is_read_in_three_minutes():
    assert len(README.splitlines()) <= 130


def test_every_page_that_is_linked_is_there():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_python_of_readme_runs(small_run, monkeypatch, tmp_path, capsys):
    code = python("run.predict").replace("IMAGES", str(load_run(small_run[0]).data().dataset.root))
    exec(re.sub(r"run = train.*", f"run = load_run({str(small_run[0])!r})", code), {})
    assert "auroc" in capsys.readouterr().out
