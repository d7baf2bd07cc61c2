"""The card of a model, with the fields of the Hugging Face hub."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from hemai.data import CellDataset
from hemai.evaluation.evaluation import Evaluation
from hemai.evaluation.finished import Finished
from hemai.files import write_text
from hemai.metrics import MAIN
from hemai.reporting.blocks import Section
from hemai.reporting.of_runs import LIMITS
from hemai.text import limits, number

NAMES_OF_HUB = {"auroc": "roc_auc"}
TEMPLATE = Path(__file__).parent / "templates" / "model_card.md"


def write_model_card(folder: Path, evaluation: Evaluation, run: Finished, sections: Sequence[Section]) -> None:
    """Write `model_card.md`.

    Args:
        folder: Of the run.
        evaluation: Of its test images.
        run: Finished.
        sections: Of its report.
    """
    facts, hparams = run.facts, run.model.hparams
    intervals = evaluation.over_groups
    defined = {
        name: interval for name, interval in intervals.items() if name in MAIN and not math.isnan(interval.value)
    }
    data = ModelCardData(
        model_name=f"{facts['data']}-{hparams['backbone']}",
        library_name="hemai",
        pipeline_tag="image-classification",
        tags=["hemai", "timm", "image-classification", "microscopy"],
        metrics=[NAMES_OF_HUB.get(name, name) for name in defined],
        eval_results=[
            EvalResult(
                task_type="image-classification",
                dataset_type=facts["data"],
                dataset_name=f"{facts['data']} (split={Path(facts['split']).name}, test)",
                metric_type=NAMES_OF_HUB.get(name, name),
                metric_name=name,
                metric_value=round(interval.value, 4),
            )
            for name, interval in defined.items()
        ],
    )
    results = [
        f"{name}: {number(interval.value)} ({limits(interval.low, interval.high)} for new {evaluation.kind}s)"
        for name, interval in defined.items()
    ]
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        name=data.model_name,
        backbone=hparams["backbone"],
        parameters=f"{sum(p.numel() for p in run.model.backbone.parameters()):,}",
        classes=run.model.classes,
        positive=run.model.positive,
        size=hparams["image_size"],
        facts=facts,
        kind=evaluation.kind,
        images=f"{len(evaluation.predictions.targets):,}",
        groups=f"{len(evaluation.groups):,}",
        figures=results,
        sentences=[sentence for section in sections if section.is_brief for sentence in section.sentences],
        limits=LIMITS,
        dataset=run.dataset or CellDataset,
        command=run.command,
        versions=facts.get("versions", {}),
    )
    write_text(folder / "model_card.md", str(card).rstrip() + "\n")
