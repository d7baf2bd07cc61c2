"""Plan a test: how many patients of each class it needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hemai.evaluation.planning import patients_needed
from hemai.runs.ensemble import find_saved_runs, pool_test_predictions
from hemai.utils.errors import UserError
from hemai.utils.terminal import say, show_table


def plan_test(paths: Sequence[Path], half_width: float = 0.05, trust: bool = False) -> pd.DataFrame:
    """Print how many patients of each class give intervals of a half width; see `patients_needed`.

    Args:
        paths: A run folder, or the folds of a cross-validation or the folder above them.
        half_width: Half the width of the 95 % interval, above 0 and below 0.5.
        trust: Run code that the runs name, even if it is not on the allowlist of `hemai.settings.trust`.

    Raises:
        UserError: No test predictions, groups that are not patients, one outcome alone, or a half width out of range.
    """
    if not 0 < half_width < 0.5:
        raise UserError(f"--half-width {half_width:g}: expected a number above 0 and below 0.5, such as 0.05")
    predictions = pool_test_predictions(find_saved_runs(paths, trust))
    if predictions.group_kind != "patient":
        raise UserError(f"the groups of this run are {predictions.group_kind}s; hemai plan needs patients")
    if not predictions.positive or len(set(predictions.malignant)) < 2:
        raise UserError("hemai plan needs malignant and benign test images; set data.positive, or test more patients")
    table = patients_needed(predictions, half_width)
    shown = pd.DataFrame(
        {
            "metric": table["metric"],
            "value": table["value"].map("{:.3f}".format),
            "intra-class correlation": table["correlation"].map("{:.2f}".format),
            "images per patient": table["images_per_patient"].map("{:.0f}".format),
            "patients here": table["patients"].map("{:,}".format),
            "patients needed": table["patients_needed"].map("{:,}".format),
        }
    )
    show_table(shown, f"patients of the class for a 95 % interval of +-{half_width:g}")
    if table["patients"].min() < 5:
        say("fewer than 5 patients of a class: the correlation, and so the plan, is rough")
    return table
