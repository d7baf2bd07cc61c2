"""Whether the folders of a data set are classes, or something else."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from hemai.utils.errors import UserError, shorten

SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}  # names of folders that are no classes
MOST_NUMBERED = 5  # FAB has the classes L1, L2, L3; more folders that differ in numbers alone are patients


def check_class_folders(root: Path, paths: Sequence[str]) -> None:
    """Refuse folders that look like splits, data sets or patients instead of classes; `data.classes` overrules it.

    Args:
        root: Folder of the images.
        paths: Images as `<class>/**`, relative to `root`.

    Raises:
        UserError: The message says where `data.root` should point instead.
    """
    folders = [os.path.dirname(path) for path in paths]
    found = _next_folders(folders)
    if splits := sorted(name for name in found if name.lower() in SPLITS):
        raise UserError(
            f"{root}: found the folders {shorten(splits)}, expected a folder for each class; point data.root at one "
            "of them, or list all images in a file for data.csv"
        )
    if len(found) == 1:
        top = os.path.commonpath(folders)
        below = _next_folders([folder[len(top) + 1 :] for folder in folders])
        if len(below) > 1 and not _are_numbered(below):
            raise UserError(
                f"{root}: found one folder, {top}, with {shorten(sorted(below))}; if these are the classes, set "
                f"data.root={root / top}"
            )
        raise UserError(
            f"{root}: found {shorten(found)}, expected two classes or more; if this is the folder of one class or "
            "of one patient, point data.root at the folder above the classes"
        )
    below_each = {frozenset(_next_folders(_inside(name, folders))) for name in found}
    below = set().union(*below_each)
    if len(below_each) == 1 and len(below) > 1 and not _are_numbered(below):
        raise UserError(
            f"{root}: found {shorten(sorted(found))}, each with {shorten(sorted(below))}; point data.root at one of "
            "them, list all images in a file for data.csv, or confirm the classes with data.classes"
        )
    if len(found) > MOST_NUMBERED and _are_numbered(found):
        raise UserError(
            f"{root}: found {shorten(sorted(found))}, which differ in their numbers alone, as patients do; point "
            "data.root at the folder above the classes, or confirm the classes with data.classes"
        )


def _inside(name: str, folders: Sequence[str]) -> list[str]:
    return [folder[len(name) + 1 :] for folder in folders if folder.split("/")[0] == name]


def _next_folders(folders: Sequence[str]) -> set[str]:
    return {folder.split("/")[0] for folder in folders} - {""}


def _are_numbered(names: Collection[str]) -> bool:
    return len({re.sub(r"\d+", "", name) for name in names}) == 1
