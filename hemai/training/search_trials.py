"""The trials of a search: each trains one setting on every fold of the development patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna import Trial, TrialPruned

from hemai.settings.run_folder import RunFolder
from hemai.training.folds import best_epoch, mean_curve
from hemai.training.launch import QUICK, launch_runs
from hemai.training.search_space import Space
from hemai.training.search_study import setting_number

TRIALS = "trials"


@dataclass(frozen=True)
class Trials:
    """How the trials of a search are trained.

    Attributes:
        out: Folder of the search.
        overrides: Settings that all trials share.
        space: Settings that they try.
        splits: Setting of each fold, `data.split=FILE`.
        monitor: Metric by which they are compared.
        epochs: Largest number of epochs of a training.
        trust: See `launch_runs`.
    """

    out: Path
    overrides: Sequence[str]
    space: Space
    splits: Sequence[str]
    monitor: str
    epochs: int
    trust: bool

    def runs(self, number: int) -> list[RunFolder]:
        """Run folders of a setting, one for each fold."""
        return [RunFolder(self.out / TRIALS / f"{number:04}" / f"fold_{fold}") for fold in range(len(self.splits))]

    def train(self, trial: Trial) -> float:
        """Train a setting on all folds; finished ones are kept, stopped ones go on.

        Returns:
            Best mean over the folds of the monitored metric, among the epochs.

        Raises:
            TrialPruned: The trial falls behind the others.
            UserError: A training failed, or the metric is not defined in a fold.
        """
        number = setting_number(trial.study.get_trials(deepcopy=False)[trial.number])
        runs, drawn = self.runs(number), self.space.draw(trial)
        print(f"trial {number}: {' '.join(drawn)}", flush=True)
        reported: set[int] = set()

        def report(run: RunFolder) -> None:
            """Report the mean over the folds so far, epoch by epoch."""
            if not run.metrics.is_file():
                return
            fold = runs.index(run)
            means = mean_curve(runs[: fold + 1], self.monitor)
            for epoch, value in zip(means.index.astype(int), means, strict=True):
                step = fold * self.epochs + epoch - 1
                if step in reported:
                    continue
                reported.add(step)
                trial.report(value, step)
                if trial.should_prune():
                    raise TrialPruned(
                        f"{self.monitor} {value:.4f} is behind the median in epoch {epoch} of fold {fold}"
                    )

        names = [run.folder.relative_to(self.out).as_posix() for run in runs]
        settings = [[*self.overrides, *drawn, split, *QUICK] for split in self.splits]
        launch_runs(self.out, zip(names, settings, strict=True), len(runs), self.trust, report)
        epoch, score = best_epoch(runs, self.monitor)
        trial.set_user_attr("epoch", epoch)
        print(f"trial {number}: {self.monitor} {score:.4f} in epoch {epoch}, the mean of {len(runs)} folds", flush=True)
        return score
