"""Pictures of a search, drawn by Optuna."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study
from optuna.visualization import matplotlib as plots

from hemai.utils.pictures import render
from hemai.utils.terminal import say

PLOTS = {
    "history": plots.plot_optimization_history,
    "importances": plots.plot_param_importances,
    "slices": plots.plot_slice,
}


def draw_search(study: Study, out: Path) -> None:
    """Write `history.png`, `importances.png` and `slices.png`: scores in order, by setting and by its values.

    Args:
        study: Study with a completed trial.
        out: Existing folder. A picture that too few trials allow is left out, and named.
    """
    for name, draw in PLOTS.items():
        with plt.rc_context(), warnings.catch_warnings():  # Optuna sets a style for all figures
            warnings.simplefilter("ignore", ExperimentalWarning)
            try:
                axes = np.ravel(draw(study))
            except (ValueError, RuntimeError) as error:  # of importances: too few trials, or all with one score
                say(f"no {name}.png: {error}")
                continue
            render(name, axes[0].figure).save(out)
            plt.close(axes[0].figure)
    print(f"pictures:   {out / 'history.png'} and others")
