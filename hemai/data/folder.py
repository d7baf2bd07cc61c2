"""Data set of your own images, from class folders or a csv file, without code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hemai.data.class_folders import check_class_folders
from hemai.data.dataset import CellDataset
from hemai.data.group_pattern import compile_pattern, find_group
from hemai.data.listed_paths import describe_missing, path_below
from hemai.utils.errors import UserError, did_you_mean, shorten
from hemai.utils.files import read_table

SYNONYMS = {  # column -> what others call it
    "path": re.compile(r"paths?|(image|img|file|cell)([ _-]?(path|name|file))?|name", re.IGNORECASE),
    "label": re.compile(r"labels?|class([ _-]?(name|label))?|category|diagnosis|target|type", re.IGNORECASE),
    "group": re.compile(r"(patient|subject|case|group)s?([ _-]?id)?", re.IGNORECASE),
    "fold": re.compile(r"folds?", re.IGNORECASE),
}
OUTSIDE = (
    "images outside any class folder (expected root/<class>/<image>; if all are, point data.root at the folder above)"
)


class FolderDataset(CellDataset):
    r"""Your own images: one folder for each class (`root/<class>/**`), or a csv file of path, label and group.

    Args:
        root: Folder of the images.
        classes: Class names in the order of their targets; by default those found, sorted.
        positive: The malignant classes; without them recall and specificity are not defined.
        pattern: Regular expression that finds the group (such as the patient) in the path below `root`: the
            part named `group`, or else the first part in parentheses, as in `P(\d+)_`. None: every image
            is its own group.
        csv: File with columns `path` (below `root`), `label` and, optionally, `group` and `fold`.
        name: Short name, part of the names of runs.

    Raises:
        UserError: See the base class; also an invalid regular expression, a csv file that lacks
            columns, unknown positive classes, or fewer than two classes.
    """

    def __init__(
        self,
        root: str | Path,
        classes: Sequence[str] | None = None,
        positive: Sequence[str] | None = None,
        pattern: str | None = None,
        csv: str | Path | None = None,
        name: str = "folder",
    ) -> None:
        self.name = name
        self.csv = Path(os.path.expanduser(csv)).absolute() if csv else None
        self.pattern = compile_pattern(pattern, "data.pattern") if pattern else None
        self.group_kind = "patient" if pattern else "image"
        if isinstance(classes, str) or isinstance(positive, str):
            raise UserError(f"data.classes={classes}, data.positive={positive}: expected lists, such as [blast]")
        self.classes = tuple(str(label) for label in classes or ())
        super().__init__(root)
        if self.problems and self.table.empty:
            self.check()
        if not self.classes:
            self.classes = tuple(sorted(set(self.table["label"])))
            if self.csv is None:
                check_class_folders(self.root, self.table["path"].tolist())
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise UserError(f"{self.root}: found {shorten(self.classes) or 'no class'}, expected two classes or more")
        self.positive = tuple(str(label) for label in positive or ())
        for label in self.positive:
            if label not in self.classes:
                raise UserError(
                    f"data.positive: unknown class '{label}'{did_you_mean(label, self.classes)} "
                    f"(expected {', '.join(self.classes)})"
                )
        for label in sorted(set(self.table["label"]) - set(self.classes)):
            self.problems.append(
                f"unknown class '{label}'{did_you_mean(label, self.classes)} (data.classes: {', '.join(self.classes)})"
            )
        if self.group_kind == "image":
            self.notes.append(
                "no data.pattern and no group column: every image is its own group, so images of a "
                "patient may occur in more than one split"
            )
        if not self.positive:
            self.notes.append("no data.positive: recall and specificity are not defined, see recall_macro")

    def scan(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (path, label, group, fold) of every image; see the base class."""
        files = self.image_files()
        pattern = self.pattern.pattern if self.pattern else ""
        if self.csv is not None:
            yield from self._rows_of_csv(self.csv, [self.relative(file) for file in files])
            return
        for file in files:
            path = self.relative(file)
            if "/" not in path:
                self.reject(file, OUTSIDE)
            elif (group := self._group(path)) is None:
                self.reject(file, f"names in which data.pattern '{pattern}' finds no group")
            else:
                yield path, path.split("/")[0], group, ""

    def _group(self, path: str) -> str | None:
        return path if self.pattern is None else find_group(self.pattern, path)

    def _rows_of_csv(self, file: Path, images: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
        rows = read_table(file, "data.csv", ("path", "label"), SYNONYMS, by_hand=True)
        named = [name for name in rows.columns if SYNONYMS["group"].fullmatch(name)]
        if "group" in rows.columns:
            self.group_kind = "patient"
        elif self.pattern is None and named:
            raise UserError(
                f"{file}: found the column {named[0]}, expected group; rename it, so that no patient is in both "
                "training and test"
            )
        rows["path"] = [path_below(self.root, path) for path in rows["path"]]
        if missing := [path for path in rows["path"] if not (self.root / path).is_file()]:
            self.problems.append(describe_missing(missing, file, self.root, images))
        if twice := sorted(set(rows["path"][rows["path"].duplicated()])):
            self.problems.append(f"{len(twice)} paths occur twice in {file.name}: {shorten(twice)}")
        groups = rows["group"] if "group" in rows.columns else rows["path"].map(self._group)
        if (empty := groups.isna() | (groups == "")).any():
            self.problems.append(
                f"{int(empty.sum())} rows of {file.name} have no group: {shorten(rows['path'][empty])}"
            )
        if (unlabelled := rows["label"] == "").any():
            self.problems.append(
                f"{int(unlabelled.sum())} rows of {file.name} have no label: {shorten(rows['path'][unlabelled])}"
            )
        folds = rows["fold"] if "fold" in rows.columns else [""] * len(rows)
        yield from zip(rows["path"], rows["label"], groups, folds, strict=True)
