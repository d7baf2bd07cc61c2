"""The Iranian (Taleqani hospital) set: blood smears in four classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hemai.data.dataset import CellDataset
from hemai.utils.errors import UserError, did_you_mean

BLOCK = 25  # images; near duplicates are 1 to 3 numbers apart, so a few lie across the border of two blocks


@dataclass(frozen=True)
class Release:
    """One release of the images: folder names, pattern of file names, number of images, citation."""

    folders: dict[str, str]
    filename: re.Pattern[str]
    images: tuple[int, int, int, int]
    citation: str


class Iranian(CellDataset):
    """Blood smears of 89 patients (25 benign, 64 malignant) of Taleqani hospital, Tehran.

    Published in two releases, which are recognised by their file names: 3,242 images of 1024 x 768 px
    (Hosseini et al.) and 3,256 of 224 x 224 px (Ghaderzadeh et al.). Both show the same
    fields of view, so a model trained on one must not be tested on the other.
    Neither release identifies patients: a group is a block of 25 consecutive numbers of a class.
    Folders `Segmented/` contain processed twins of the originals and are left out.
    """

    name = "iranian"
    classes = ("Benign", "Early", "Pre", "Pro")
    positive = ("Early", "Pre", "Pro")
    group_kind = "block"
    license = "Open Database License; contents of the original authors"
    card = {
        "centres": "Taleqani hospital, Tehran",
        "subtype": "B-lineage acute lymphoblastic leukaemia: early pre-B, pre-B and pro-B; benign",
    }
    releases = (
        Release(
            folders={"Benign": "Benign", "Early": "Early", "Pre": "Pre", "Pro": "Pro"},
            filename=re.compile(r"WBC-(?P<series>Benign|Malignant-(?:Early|Pre|Pro))-(?P<number>\d+)\.\w+"),
            images=(504, 985, 963, 804),
            citation="Ghaderzadeh et al., Int J Intell Syst 37 (2022) 5113, doi 10.1002/int.22753; "
            "data doi 10.34740/KAGGLE/DSV/2175623",
        ),
        Release(
            folders={
                "Benign": "Benign",
                "[Malignant] early Pre-B": "Early",
                "[Malignant] Pre-B": "Pre",
                "[Malignant] Pro-B": "Pro",
            },
            # `Snap_001 (3).jpg`: the third series that was merged into the folder.
            filename=re.compile(r"Sn?ap_(?P<number>\d+)(?: ?\((?P<series>\d+)\))?\.\w+"),
            images=(512, 979, 955, 796),
            citation="Hosseini et al., Informatics in Medicine Unlocked 39 (2023) 101244, "
            "doi 10.1016/j.imu.2023.101244",
        ),
    )

    def scan(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (path, label, group, fold) of every image; see the base class."""
        files = self.image_files()
        originals = [file for file in files if "Segmented" not in file.parent.parts]
        if not originals:
            raise UserError(
                f"{self.root}: found only Segmented/, which contains processed twins; expected the originals "
                "(for the twins alone use data=folder)"
            )
        self.leave_out(len(files) - len(originals), "images in Segmented/, not originals,")

        matches = [sum(bool(release.filename.fullmatch(file.name)) for file in originals) for release in self.releases]
        if all(matches):
            raise UserError(
                f"{self.root}: contains both releases, which show the same fields of view; point data.root at one"
            )
        release = self.releases[int(matches[1] > matches[0])]
        self.citation = release.citation
        self.published = {("", c): (n, None) for c, n in zip(self.classes, release.images, strict=True)}

        unknown_folders, seen = set(), set()
        for file in originals:
            label = release.folders.get(file.parent.name)
            match = release.filename.fullmatch(file.name)
            if label is None:
                unknown_folders.add(file.parent.name)
            elif match is None:
                self.reject(file, "names of neither release (WBC-Benign-001.jpg, Snap_001 (3).jpg; rename them)")
            else:
                named = (match["series"] or "").rpartition("-")[2]
                if named in self.classes and named != label:
                    self.reject(file, "files in the folder of another class")
                if (label, file.name) in seen:
                    self.reject(file, "images found twice (point data.root at one copy)")
                seen.add((label, file.name))
                series = match["series"] if (match["series"] or "").isdigit() else "1"
                block = (int(match["number"]) - 1) // BLOCK
                yield self.relative(file), label, f"{label}-{series}-{block:02d}", ""
        for folder in sorted(unknown_folders):
            self.problems.append(
                f"unknown class folder '{folder}'{did_you_mean(folder, release.folders)} "
                f"(expected {', '.join(release.folders)}; point data.root at one release alone)"
            )
