"""`hemai report`: one page on a finished run, for a reader who was not there."""

from __future__ import annotations

from pathlib import Path

from hemai.errors import UserError
from hemai.evaluation.evaluation import evaluate_predictions
from hemai.evaluation.finished import Finished, all_shared
from hemai.reporting import tell, write_model_card, write_report


def report_run(folder: Path, trust: bool = False) -> None:
    """Write `report.html`, `report.md` and `model_card.md` into the folder of a run; old ones are replaced.

    Args:
        folder: Of a finished run.
        trust: Run code that the folder names, even if it is not on the allowlist of `hemai.trust`.

    Raises:
        UserError: No finished run with test images, or a folder that cannot be written.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: expected the folder of a finished run")
    run = Finished(folder, trust)
    evaluation = evaluate_predictions(run.tested(), run.facts["group_kind"])
    title = f"{run.facts['data']}: {run.model.hparams['backbone']}"
    sections = tell(evaluation, [run], all_shared([run.shared_groups()]))
    try:
        write_report(folder, title, sections)
        write_model_card(folder, evaluation, run, sections)
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error}); free space, or make it writable") from error
    print(f"report:     {folder / 'report.html'}")
