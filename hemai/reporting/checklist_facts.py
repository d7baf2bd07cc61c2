"""What runs know about themselves for the checklists of reporting guidelines, and where it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hemai.reporting.flow_diagram import Box
from hemai.reporting.sections_flow import flow_of_images
from hemai.reporting.sections_summary import external_test, task
from hemai.reporting.study import Fact, Study
from hemai.reporting.text import LIMITATIONS, RESEARCH_ONLY, count_images, leakage_sentence, split_sentence
from hemai.runs.ensemble import union_of_shared_groups
from hemai.runs.provenance import read_provenance
from hemai.utils.errors import shorten


def _settings(*names: str) -> Callable[[Study], Fact]:
    def fact(study: Study) -> Fact:
        return "; ".join(f"{name}: {study.settings[name]}" for name in names), study.where_settings

    return fact


def _card(*fields: str) -> Callable[[Study], Fact | None]:
    def fact(study: Study) -> Fact | None:
        known = [f"{field.replace('_', ' ')}: {study.card[field]}" for field in fields if field in study.card]
        return ("; ".join(known), "report: Data set (card.yaml)") if known else None

    return fact


def _provenance(*names: str) -> Callable[[Study], Fact | None]:
    def fact(study: Study) -> Fact | None:
        found = {name: value for name, value in study.provenance.items() if name.split(",")[0] in names}
        known = [f"{name}: {value}" for name, value in found.items() if value != "not recorded"]
        return ("; ".join(known), "report: Reproduce this run") if known else None

    return fact


def _source(study: Study) -> Fact | None:
    if (dataset := study.runs[0].dataset) is None or dataset.citation == "unknown":
        return None
    return f"{dataset.citation.rstrip('.')}. Licence: {dataset.license}", "report: Limitations and citation"


def _boxes(study: Study) -> list[Box]:
    return [box for flow in flow_of_images(study.evaluation.predictions, study.runs, None) for box in flow]


def _flow(study: Study) -> Fact:
    return "; ".join(box.title for box in _boxes(study)), "report: Flow of images; splits.csv"


def _left_out(study: Study) -> Fact | None:
    if "left_out" not in read_provenance(study.runs[0].folder):
        return None
    [box] = [box for box in _boxes(study) if box.kind == "left out"]
    reasons = f": {'; '.join(box.lines)}" if box.lines else ""
    return f"{box.title}{reasons}", "report: Flow of images; provenance.json"


def _partitions(study: Study) -> Fact:
    counts = [
        ", ".join(f"{row['split']} {row['total']}" for row in count_images(run.splits(), ()).to_dict("records"))
        for run in study.runs
    ]
    kind = study.evaluation.kind
    text = f"split: {study.settings['split']}; images / {kind}s: {shorten(counts, most=1)}"
    return text, f"splits.csv; {study.where_settings}"


def _disjoint(study: Study) -> Fact:
    kind = study.evaluation.kind
    shared = union_of_shared_groups(run.shared_groups() for run in study.runs)
    sentences = dict.fromkeys(split_sentence(run.splits(), kind) for run in study.runs)
    return " ".join(
        [leakage_sentence(shared, kind, len(study.evaluation.groups), len(study.runs)), *sentences]
    ), "report: Results"


def _imbalance(study: Study) -> Fact:
    weights = study.config.get("model", {}).get("class_weights")
    balance = study.config.get("data", {}).get("balance")
    return f"class weights: {weights or 'none'}; balanced sampling: {balance or 'none'}", ".hydra/config.yaml"


def _software(study: Study) -> Fact:
    versions = study.runs[0].metadata.get("versions", {})
    return ", ".join(f"{name} {version}" for name, version in versions.items()), "report: Reproduce this run"


def _networks(study: Study) -> Fact:
    if len(study.runs) == 1:
        return "one network, no ensemble", "report: Summary"
    return f"{len(study.runs)} networks, each tested on images of its own; not combined", "report: Runs"


def _shortcuts(study: Study) -> Fact:
    return "baselines of colour, cell area, border and file order", "report: Shortcut baselines"


def _external(study: Study) -> Fact | None:
    text = external_test(study.runs, None)
    return None if text == "none" else (text, "result.json")


FACTS_OF_RUNS: Mapping[str, Callable[[Study], Fact | None]] = {
    "task": lambda study: (task(study.evaluation), "report: Summary"),
    "use": lambda study: (RESEARCH_ONLY, "report: Summary"),
    "source": _source,
    "eligibility": _card("eligibility"),
    "reference_standard": _card("reference_standard"),
    "scanner": _card("scanner"),
    "stain": _card("stain"),
    "dates": _card("dates"),
    "centres": _card("centres"),
    "subtype": _card("subtype"),
    "demographics": _card("age", "sex", "subtype"),
    "preparation": _settings("preparation"),
    "augmentation": _settings("augmentation"),
    "architecture": _settings("network", "input"),
    "input": _settings("input"),
    "initial_weights": _settings("initial weights"),
    "training": _settings("optimizer", "batch", "seed"),
    "selection": _settings("epochs"),
    "settings": lambda study: ("every setting, and the command", ".hydra/config.yaml; report: Reproduce this run"),
    "output": lambda study: ("a probability of each class", "predictions_test.csv"),
    "outputs": lambda study: ("predictions of every test image", "predictions_test.csv"),
    "blinding": lambda study: ("the network sees the pixels of one image, and nothing else", study.where_settings),
    "indeterminate": lambda study: ("none: every image gets a class", "predictions_test.csv"),
    "limitations": lambda study: (" ".join(LIMITATIONS[:2]), "report: Limitations and citation"),
    "code": _provenance("code (git commit)"),
    "checkpoint": _provenance("checkpoint"),
    "cost": _provenance("hardware", "training time", "energy"),
    "flow": _flow,
    "left_out": _left_out,
    "partitions": _partitions,
    "disjoint": _disjoint,
    "imbalance": _imbalance,
    "software": _software,
    "networks": _networks,
    "shortcuts": _shortcuts,
    "external": _external,
}
