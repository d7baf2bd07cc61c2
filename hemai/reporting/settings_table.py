"""Table of the settings of a run that a reader needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from hemai.models.lora import RANK
from hemai.runs.saved_run import SavedRun
from hemai.utils.errors import shorten


def settings_of(run: SavedRun) -> pd.DataFrame:
    """Network, preparation, optimizer and split of a run: columns `setting, value`."""
    config: Any = OmegaConf.to_container(run.config) if run.config is not None else {}
    hparams, metadata = run.model.hparams, run.metadata
    start = metadata.get("start") or ("published weights" if metadata.get("pretrained") else "random weights")
    rows = [
        ("network", _network(run)),
        ("initial weights", start),
        ("input", f"{hparams['image_size']} x {hparams['image_size']} px, RGB"),
        ("preparation", ", ".join(_steps(metadata["prepare"])) or "nothing"),
        *(_probe(metadata["probe"], config) if metadata.get("probe") else _training(config, hparams)),
        ("seed", config["seed"]),
        ("split", f"{metadata['split']} (SHA-256 prefix {metadata['split_hash']})"),
    ]
    return pd.DataFrame([(name, str(value)) for name, value in rows], columns=["setting", "value"])


def _training(config: dict[str, Any], hparams: Any) -> list[tuple[str, str]]:
    kept = f"the best by {config['monitor']} is kept" if config["monitor"] else "the last is kept"
    kept += ", chosen with the threshold by inner folds" * bool((config.get("threshold") or {}).get("validation"))
    optimizer = (f"{name} {value}" for name, value in hparams["optimizer"].items() if value is not None)
    return [
        ("augmentation", ", ".join(_names(config.get("transform", {}).get("augment"))) or "nothing"),
        ("optimizer", ", ".join(optimizer)),
        ("epochs", f"{config['trainer']['max_epochs']}, {kept}"),
        ("batch", f"{config['data']['batch_size']} images"),
    ]


def _probe(probe: dict[str, Any], config: dict[str, Any]) -> list[tuple[str, str]]:
    """The same rows as for a training, so that both can stand in one table."""
    chosen = f"chosen by {probe['folds']} inner folds" if probe["folds"] else "by default"
    balance = config["data"].get("balance")
    return [
        ("augmentation", "nothing"),
        ("optimizer", f"logistic regression of the last layer on the features, C = {probe['C']:g} {chosen}"),
        ("epochs", "none: a probe"),
        ("batch", "all images" + f", weighted by {balance}" * bool(balance)),
    ]


def _network(run: SavedRun) -> str:
    """Name and number of parameters of the network, and its adapters."""
    hparams, parameters = run.model.hparams, list(run.model.backbone.parameters())
    text = f"{hparams['backbone']}, {sum(p.numel() for p in parameters):,} parameters"
    if adapter := hparams["adapter"]:
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        text += f", of which {trained:,} were trained ({adapter['name']}, rank {adapter.get('rank', RANK)})"
    return text


def settings_of_runs(runs: Sequence[SavedRun]) -> pd.DataFrame:
    """Table of `settings_of`; where runs differ, a row lists their values."""
    tables: list[dict[str, str]] = [dict(settings_of(run).itertuples(index=False)) for run in runs]
    rows = [(name, shorten(dict.fromkeys(table[name] for table in tables), most=3)) for name in tables[0]]
    return pd.DataFrame(rows, columns=["setting", "value"])


def _steps(prepare: dict[str, Any]) -> list[str]:
    return [step["__class_fullname__"].split(".")[-1] for step in prepare["transform"]["transforms"]]


def _names(steps: Any) -> list[str]:
    values = steps.values() if isinstance(steps, dict) else steps or []
    return [str(step["_target_"]).split(".")[-1] for step in values if isinstance(step, dict) and "_target_" in step]
