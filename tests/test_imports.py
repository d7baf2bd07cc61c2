"""The rooms of the package: imports run one way, and what predicts never reaches what trains."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import train as script

ROOT = Path(script.__file__).parent
# A room may import from itself and from rooms in earlier rows.
ORDER = (
    ("utils",),
    ("transforms",),
    ("data", "settings"),
    ("evaluation",),
    ("models",),
    ("runs",),
    ("attribution", "export"),
    ("training", "reporting"),
    ("app",),
    ("cli",),
)
ROW = {room: row for row, rooms in enumerate(ORDER) for room in rooms}


def module_of(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(file): file for file in (ROOT / "hemai").rglob("*.py")}


def imports_of(module):
    """Modules of the package that a file imports, also within functions; the lazy public API aside."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return (found & MODULES.keys()) - {module, "hemai"}


GRAPH = {module: imports_of(module) for module in MODULES if module != "hemai"}


def room_of(module):
    return module.split(".")[1]


def test_every_folder_is_a_room_with_its_place_in_the_order():
    folders = {path.parent.name for path in (ROOT / "hemai").glob("*/*.py")}
    assert folders == set(ROW)


def test_no_file_imports_in_a_circle():
    TopologicalSorter(GRAPH).prepare()  # raises CycleError


@pytest.mark.parametrize("module", [module for module in GRAPH if module != "hemai.__main__"])
def test_a_room_imports_from_itself_and_from_lower_rooms(module):
    room = room_of(module)
    for imported in GRAPH[module]:
        other = room_of(imported)
        assert other == room or ROW[other] < ROW[room], f"{module} imports {imported}"


def test_the_longest_chain_of_imports_stays_short():
    depth = {}
    for module in TopologicalSorter(GRAPH).static_order():
        depth[module] = 1 + max((depth[imported] for imported in GRAPH[module]), default=0)
    assert max(depth.values()) <= 15


@pytest.mark.parametrize("module", ["hemai.runs.saved_run", "hemai.runs.inference", "hemai.evaluation.summary"])
def test_inference_imports_no_training_and_no_logger(module):
    code = f"import sys, {module}; print([m for m in sys.modules if m.startswith(('tensorboard', 'hemai.training'))])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_are_short():
    long = {module: count for module, file in MODULES.items() if (count := len(file.read_text().splitlines())) > 250}
    assert not long
