"""Model card with the fields of the Hugging Face Hub."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from hemai.data.dataset import CellDataset
from hemai.evaluation.metrics import MAIN
from hemai.evaluation.summary import Evaluation
from hemai.reporting.document import Section
from hemai.reporting.templating import fill_template
from hemai.reporting.text import LIMITATIONS, format_interval, format_number
from hemai.runs.saved_run import SavedRun
from hemai.utils.files import write_text

NAMES_OF_HUB = {"auroc": "roc_auc"}


def write_model_card(folder: Path, evaluation: Evaluation, run: SavedRun, sections: Sequence[Section]) -> None:
    """Write `model_card.md` of a run.

    Args:
        folder: Folder to write to.
        evaluation: Results on the test images of the run.
        run: Finished run.
        sections: Sections of its report.
    """
    example = f"hemai evaluate best.ckpt data={run.metadata['data']} data.root=DIR --out FOLDER"
    card = model_card(run, evaluation, sections, example, run.command, Path(run.metadata["split"]).name)
    write_text(folder / "model_card.md", card)


def model_card(
    run: SavedRun,
    evaluation: Evaluation | None,
    sections: Sequence[Section],
    example: str,
    command: str,
    split: str,
) -> str:
    """Text of a model card.

    Args:
        run: The run.
        evaluation: Results on its test images; None: unknown.
        sections: Sections of its report; the sentences of brief ones are told.
        example: Command that uses the network.
        command: Command that repeats the training; empty: unknown.
        split: How its images were split, in a word.
    """
    metadata, hparams = run.metadata, run.model.hparams
    intervals = evaluation.over_groups if evaluation else {}
    defined = {
        name: interval for name, interval in intervals.items() if name in MAIN and not math.isnan(interval.value)
    }
    data = ModelCardData(
        model_name=f"{metadata['data']}-{hparams['backbone']}",
        library_name="hemai",
        pipeline_tag="image-classification",
        tags=["hemai", "timm", "image-classification", "microscopy"],
        metrics=[NAMES_OF_HUB.get(name, name) for name in defined],
        eval_results=[
            EvalResult(
                task_type="image-classification",
                dataset_type=metadata["data"],
                dataset_name=f"{metadata['data']} (split={split}, test)",
                metric_type=NAMES_OF_HUB.get(name, name),
                metric_name=name,
                metric_value=round(interval.value, 4),
            )
            for name, interval in defined.items()
        ],
    )
    results = [
        f"{name}: {format_number(interval.value)} "
        f"({format_interval(interval.low, interval.high)} for new {metadata['group_kind']}s)"
        for name, interval in defined.items()
    ]
    card = fill_template(
        "model_card.md",
        card_data=data.to_yaml(),
        name=data.model_name,
        backbone=hparams["backbone"],
        parameters=f"{sum(p.numel() for p in run.model.backbone.parameters()):,}",
        classes=run.model.classes,
        positive=run.model.positive,
        size=hparams["image_size"],
        metadata=metadata,
        example=example,
        split=split,
        kind=metadata["group_kind"],
        images=f"{evaluation.predictions.images:,}" if evaluation else "",
        groups=f"{len(evaluation.groups):,}" if evaluation else "",
        results=results,
        sentences=[sentence for section in sections if section.is_brief for sentence in section.sentences],
        limits=LIMITATIONS,
        dataset=run.dataset or CellDataset,
        command=command,
        versions=metadata.get("versions", {}),
    )
    return card.rstrip() + "\n"
