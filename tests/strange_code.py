"""Code that a stranger's run folder may name, and a package that declares itself, for tests of trust."""

import os
import pickle

import yaml


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def write_strange_code(folder):
    """A pickle and a module `strange_module`; the path that is there once one of them ran."""
    marker = folder / "marker"
    (folder / "payload.pkl").write_bytes(pickle.dumps(Payload(marker)))
    (folder / "modules").mkdir()
    (folder / "modules" / "strange_module.py").write_text(f"""
from pathlib import Path
Path({str(marker)!r}).touch()
from hemai.data import Synthetic as Smears
from hemai.transforms import ImagePipeline as Recipe
from timm.models import resnet10t
""")
    return marker


def write_package(site):
    """An installed package `own_smears`, with its entry point."""
    for folder in ("own_smears", "own_smears-1.0.dist-info"):
        (site / folder).mkdir(parents=True)
    (site / "own_smears-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: own_smears\nVersion: 1.0")
    (site / "own_smears-1.0.dist-info" / "entry_points.txt").write_text("[hemai]\nown_smears = own_smears\n")
    (site / "own_smears" / "__init__.py").write_text("""
import os

import albumentations as A
import timm
from pandas import read_pickle

from hemai.data import Synthetic


class Smears(Synthetic):
    pass


class Stain(A.Resize):
    pass


def tiny_net(num_classes, **options):
    return timm.create_model("custom_cnn", num_classes=num_classes, **options)
""")


def edit(folder, change, name="config"):
    """Change a file of `.hydra/`."""
    file = folder / ".hydra" / f"{name}.yaml"
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(change(content) or content, sort_keys=False))
