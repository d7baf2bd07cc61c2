"""Report sections on the runs: data, settings, curves, limitations, commands."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import pandas as pd

import hemai
from hemai.data.dataset import CellDataset
from hemai.evaluation.metrics import MAIN
from hemai.reporting.document import Section, Table, picture_of_run
from hemai.reporting.provenance_table import provenance_table
from hemai.reporting.settings_table import settings_of, settings_of_runs
from hemai.reporting.text import LIMITATIONS, count_images, format_number, source_sentences, split_sentence
from hemai.runs.ensemble import spread_over_runs
from hemai.runs.history import read_history
from hemai.runs.saved_run import SavedRun
from hemai.utils.pictures import draw_curves

CITE = "hemai {version}, MIT licence; state version and seed with every metric."


def training_sections(runs: Sequence[SavedRun]) -> list[Section]:
    """Sections on data, settings and training curves; empty list for checkpoints without a run folder."""
    complete = [run for run in runs if run.config is not None]
    if not complete:
        return []
    run, kind = complete[0], complete[0].metadata["group_kind"]
    if len(runs) > 1:
        sentences = list(dict.fromkeys(split_sentence(each.splits(), kind) for each in complete))
        folds = Section("Runs", sentences, [_folds(complete)], is_brief=True)
        return [folds, Section("Settings", tables=[Table(settings_of_runs(complete), texts=2)])]
    splits = run.splits()
    labels = [label for label in run.model.classes if label in set(splits["label"])]
    counts = Table(count_images(splits, labels), f"images / {kind}s")
    sentences = [split_sentence(splits, kind)]
    if not run.has_predictions():
        sentences.append("The run has no test images of its own.")
    sections = [Section("Data and split", sentences, [counts, Table(settings_of(run), texts=2)])]
    if run.folder is not None and run.folder.metrics.is_file():
        rows = read_history(run.folder).to_dict("records")
        epochs = [{str(name): value for name, value in row.items() if not math.isnan(value)} for row in rows]
        curves = picture_of_run(
            run,
            "curves",
            lambda: draw_curves(epochs, run.best_epoch),
            "Loss and accuracy by epoch. Where the curves of training and validation diverge, the network overfits.",
        )
        sections.append(Section("Training curves", pictures=[curves]))
    return sections


def _folds(runs: Sequence[SavedRun]) -> Table:
    rows = []
    above = os.path.commonpath([run.path.absolute().parent for run in runs])
    for run in runs:
        splits = run.splits()
        parts = [splits[splits["split"] == split] for split in ("train", "val", "test")]
        tested = run.predictions().metrics() if run.has_predictions() else {}
        metrics = (format_number(tested.get(name, math.nan)) for name in MAIN)
        name = run.path.absolute().relative_to(above).as_posix()
        rows.append((name, *(f"{len(part):,} / {part['group'].nunique():,}" for part in parts), *metrics))
    if all(run.has_predictions() for run in runs):
        spread = {name: math.nan if value is None else value for name, value in spread_over_runs(runs).items()}
        for kind in ("mean", "sd"):
            rows.append(
                (f"{kind} over runs", "", "", "", *(format_number(spread[f"runs/{name}/{kind}"]) for name in MAIN))
            )
    columns = ["run", "train", "val", "test", *(name.replace("_", " ") for name in MAIN)]
    return Table(pd.DataFrame(rows, columns=columns), f"images / {runs[0].metadata['group_kind']}s, then metrics")


def limitations_section(
    runs: Sequence[SavedRun], dataset: CellDataset | None, missing: str, is_own_test: bool
) -> Section:
    """Section on the limits of the metrics, and on citations."""
    sentences = list(LIMITATIONS)
    if missing:
        omitted = "pictures of errors and shortcut baselines" if is_own_test else "shortcut baselines"
        sentences.append(f"Omitted: {omitted}; the images of the run could not be opened: {missing}.")
    if dataset is not None:
        sentences.append(f"Images: {dataset.citation.rstrip('.')}. Licence: {dataset.license}.")
    if runs and (source := source_sentences(runs[0].metadata.get("source"))):
        sentences.append(f"Initial weights: {'; '.join(source)}.")
    versions = runs[0].metadata.get("versions", {}) if runs else {"hemai": hemai.__version__}
    sentences.append("Software: " + CITE.format(version=versions.get("hemai", "unknown")))
    return Section("Limitations and citation", sentences)


def reproduce_sections(runs: Sequence[SavedRun]) -> list[Section]:
    """Section with commands, versions, code, weights, hardware and energy; empty list without a run."""
    if not runs:
        return []
    versions = runs[0].metadata.get("versions", {})
    sentence = "Trained with " + ", ".join(f"{name} {version}" for name, version in versions.items()) + "."
    commands = [run.command for run in runs if run.command]
    return [
        Section(
            "Reproduce this run",
            [sentence] if versions else [],
            [Table(provenance_table(runs), texts=2)],
            code="\n".join(commands),
        )
    ]
