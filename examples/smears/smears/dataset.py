"""A data set of one's own as a class; its settings are in `conf/data/smears.yaml`."""

import re
from collections.abc import Iterator

from hemai.data import CellDataset
from hemai.errors import some


class Smears(CellDataset):
    """Smears: single white blood cells of 40 patients, normal or blast (made up for this example).

    Files: `P<patient>_<cell>_<label>.png`, RGB, at any depth.
    Splits: none published; ours never share a patient.
    """

    name = "smears"
    classes = ("normal", "blast")
    positive = ("blast",)
    group_kind = "patient"
    filename = re.compile(r"P(?P<group>\d+)_\d+_(?P<label>normal|blast)\.png")
    published = {("", "normal"): (700, 25), ("", "blast"): (500, 15)}  # images, patients
    license = "CC BY 4.0"
    citation = "authors, title, year, doi"

    def scan(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (path, label, group, fold) of every cell."""
        unknown = []
        for file in self.image_files():
            match = self.filename.fullmatch(file.name)
            if match:
                yield self.relative(file), match["label"], match["group"], ""
            else:
                unknown.append(self.relative(file))
        if unknown:
            self.problems.append(f"names outside P<patient>_<cell>_<label>.png: {some(unknown)}; rename them")
