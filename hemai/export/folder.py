"""Folder of safetensors and JSON: a run for hemai, a network for timm, a model for the Hugging Face Hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import safetensors.torch
from timm.models._hub import save_config_for_hf

from hemai.export.plain_network import merged_copy
from hemai.models.network import is_of_timm
from hemai.runs.exported_folder import CARD, CONFIG, OWN_KEY, WEIGHTS
from hemai.runs.saved_run import SavedRun
from hemai.settings.trust import READ_BY_TIMM
from hemai.settings.upgrade import FORMAT
from hemai.utils.errors import UserError
from hemai.utils.files import replace_file, write_text

# Metadata that is published. A new key stays private until it is listed here: paths of the user's machine (`weights`,
# `start`, `split` if it is a file) and names of patients must not leave it.
PUBLIC = (
    *("data", "group_kind", "prepare", "split_hash", "versions", "permuted_labels", "segmented_twins"),
    *("class_counts", "balance", "appearance", "pretrained", "source", "probe"),
    *(
        "temperature",
        "recalibration",
        "abstain_below",
        "threshold",
        "threshold_rule",
        "threshold_sensitivity",
        "threshold_images",
        "threshold_groups",
    ),
)


def write_folder(run: SavedRun, folder: Path, card: str) -> None:
    """Write `model.safetensors`, `config.json` and `README.md` into a folder.

    `timm.create_model("local-dir:FOLDER", pretrained=True)` loads it (networks of hemai after `import hemai.models`),
    and every verb takes it for a run.

    Args:
        run: The run.
        folder: An existing folder.
        card: Text of the model card.

    Raises:
        UserError: A network of the user's own package, which timm does not know.
    """
    model = merged_copy(run.model)
    hparams = dict(model.hparams)
    if not is_of_timm(backbone := hparams["backbone"]):
        raise UserError(
            f"{backbone} is a network of your own package, which timm does not know; "
            "export it with --format onnx, torch or state_dict"
        )
    options = {name: value for name, value in (hparams["options"] or {}).items() if name not in READ_BY_TIMM}
    metadata = {name: value for name, value in hparams["metadata"].items() if name in PUBLIC}
    split = str(hparams["metadata"].get("split", ""))
    metadata["split"] = "file" if split.endswith(".csv") or os.sep in split else split
    own: dict[str, Any] = {
        "hemai_format": FORMAT,
        "epoch": run.best_epoch - 1,
        "hyper_parameters": {**hparams, "options": options, "metadata": metadata},
    }
    size = hparams["image_size"]
    pixels = {"mean": hparams["mean"], "std": hparams["sd"], "input_size": [3, size, size], "crop_pct": 1.0}
    # Not timm's save_for_hf: it writes the weights readable by their owner alone.
    save_config_for_hf(
        model.backbone,
        str(folder / CONFIG),
        model_config={"label_names": model.classes, "pretrained_cfg": pixels, OWN_KEY: own},
        model_args={name: value for name, value in options.items() if value is not None},
    )
    with replace_file(folder / WEIGHTS) as file:
        file.write(safetensors.torch.save(dict(model.backbone.state_dict())))
    write_text(folder / CARD, card)
