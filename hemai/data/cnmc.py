"""C-NMC 2019: single cells of leukaemic and of normal patients."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hemai.data.dataset import CellDataset
from hemai.utils.errors import UserError, shorten
from hemai.utils.files import read_table


class CNMC(CellDataset):
    """C-NMC 2019 (ISBI 2019 challenge): cells of 118 patients, cut out on black, 450 x 450 px.

    Files: `UID_<patient>_<image>_<cell>_<all|hem>.bmp` under any root, at any depth, in folders
    `fold_<n>`; the preliminary test set is numbered (`1.bmp`) and labelled by a csv file. IDs of
    normal patients start with `H` (once with `h`): `10` and `H10` are different patients.
    The final test set has no labels and is left out.
    Splits: three official folds and the preliminary set, all disjoint by patient.
    """

    name = "cnmc"
    classes = ("all", "hem")  # the order of the report: 0 = leukaemic, 1 = normal
    positive = ("all",)
    external: tuple[str, ...] = ("preliminary",)
    filename = re.compile(r"UID_(?P<group>[Hh]\d+(?=.*_hem)|\d+(?=.*_all))_\d+_\d+_(?P<label>all|hem)\.\w+")
    label_file = "C-NMC_test_prelim_phase_data_labels.csv"
    published = {
        ("fold_0", "all"): (2397, 19),
        ("fold_0", "hem"): (1130, 9),
        ("fold_1", "all"): (2418, 11),
        ("fold_1", "hem"): (1163, 3),
        ("fold_2", "all"): (2457, 17),
        ("fold_2", "hem"): (1096, 14),
        ("preliminary", "all"): (1219, 13),
        ("preliminary", "hem"): (648, 15),
    }
    license = "CC BY 3.0"
    citation = (
        "Mourya, Kant, Kumar, Gupta & Gupta, ALL Challenge dataset of ISBI 2019 (C-NMC 2019), "
        "The Cancer Imaging Archive, 2019, doi 10.7937/tcia.2019.dc64i46r"
    )

    card = {
        "stain": "colours normalised by the organisers",
        "subtype": "B-lineage acute lymphoblastic leukaemia (all), normal cells (hem)",
    }

    def scan(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (path, label, group, fold) of every cell; see the base class."""
        files = self.image_files()
        original_names = self._preliminary_names()
        seen: set[str] = set()
        unlabelled, preliminary = [], 0
        for file in files:
            folders = file.parent.parts
            numbered = file.stem.isdigit() and file.parent.name not in self.classes
            if numbered and file.name not in original_names:
                unlabelled.append(file)
                continue
            if numbered and any("final" in folder.lower() for folder in folders[len(self.root.parts) :]):
                unlabelled.append(file)
                continue
            name = original_names[file.name] if numbered else file.name
            match = self.filename.fullmatch(name)
            if match is None:
                self.reject(
                    file,
                    "names that do not match UID_<patient>_<image>_<cell>_<all|hem>.bmp (patients of hem start with H, "
                    "those of all do not; rename or remove them, or point data.root at C-NMC alone)",
                )
                continue
            if name in seen:
                self.reject(file, "cells found twice (point data.root at one copy)")
                continue
            seen.add(name)
            in_fold = file.parent.name in self.classes or re.fullmatch(r"fold_\d+", file.parent.parent.name)
            if in_fold and file.parent.name != match["label"] and not re.fullmatch(r"fold_\d+", file.parent.name):
                self.reject(file, "files in a folder that is not named after their class")
            preliminary += numbered
            folds = [folder for folder in folders if re.fullmatch(r"fold_\d+", folder)]
            fold = "preliminary" if numbered else folds[-1] if folds else ""
            yield self.relative(file), match["label"], match["group"].upper(), fold

        self.leave_out(len(unlabelled), "numbered images without labels (final test set)")
        if not original_names and any("prelim" in str(self.relative(file)) for file in unlabelled):
            self.notes.append(f"the preliminary set has no labels and is left out: {self.label_file} is missing")
        if original_names and not preliminary:
            self.notes.append("found the labels of the preliminary set without its images: it is not tested")
        elif missing := len(original_names) - preliminary:
            self.notes.append(f"{missing:,} images of the preliminary set are missing")

    def _preliminary_names(self) -> dict[str, str]:
        """Original name of each preliminary image by its name on disk, from the published csv file.

        Raises:
            UserError: The file lacks columns, holds unknown names, or contradicts itself.
        """
        file = next(iter(sorted(self.root.rglob(self.label_file))), None)
        if file is None:
            return {}
        rows = read_table(file, "data.root", ("Patient_ID", "new_names", "labels"))
        # `Patient_ID` holds the original file name; 1 = all, 0 = hem.
        matches = rows["Patient_ID"].map(self.filename.fullmatch)
        if (bad := matches.isna()).any():
            raise UserError(
                f"{file}: unknown names in Patient_ID: {shorten(rows['Patient_ID'][bad])}; "
                "expected UID_<patient>_<image>_<cell>_<all|hem>.bmp"
            )
        wrong = rows["labels"] != matches.map(lambda match: "1" if match["label"] == "all" else "0")
        if wrong.any():
            raise UserError(
                f"{file}: labels that contradict the names (1 = all, 0 = hem): {shorten(rows['Patient_ID'][wrong])}"
            )
        if (twice := (rows["new_names"] == "") | rows["new_names"].duplicated()).any():
            raise UserError(f"{file}: empty or repeated names in new_names: {shorten(rows['new_names'][twice])}")
        return dict(zip(rows["new_names"], rows["Patient_ID"], strict=True))
