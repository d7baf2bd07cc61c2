"""A data set of one's own as a class; its settings are in `conf/data/smears.yaml`."""

import re

from hemai import CellDataset


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
