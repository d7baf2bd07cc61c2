"""Pictures of a search, drawn by Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study
from optuna.visualization import matplotlib as plots

from hemai.utils.pictures import render
from hemai.utils.terminal import say


def draw_search(study: Study, monitor: str, out: Path) -> None:
    """Write `history.png`, `importances.png` and `slices.png`: scores by trial, by setting and by its values.

    Args:
        study: Study with a completed trial.
        monitor: Name of the score.
        out: Existing folder. A picture for which there are too few trials is left out, and named.
    """
    drawings: dict[str, Callable[..., Any]] = {
        "history": plots.plot_optimization_history,
        "importances": plots.plot_param_importances,
        "slices": plots.plot_slice,
    }
    for name, draw in drawings.items():
        with plt.rc_context(), warnings.catch_warnings():  # Optuna sets a style for all figures
            warnings.simplefilter("ignore", ExperimentalWarning)
            try:
                axes: Any = draw(study, target_name=monitor)
            except (ValueError, RuntimeError) as error:  # of importances: too few trials, or all of one score
                say(f"no {name}.png: {error}")
                continue
            figure = np.ravel(axes)[0].figure
            figure.set_layout_engine("constrained")  # else long names of settings are cut
            render(name, figure).save(out)
            plt.close(figure)
    print(f"pictures:   {out}/*.png")
