"""Train and test a classifier of cells: `python train.py group=name key=value ...`

This file is the whole story, from settings to figures; `configs/` holds every setting.
Research software, not a medical device.
"""

from __future__ import annotations

import sys
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from hemai.config import CONFIGS, checked_arguments
from hemai.errors import UserError, shown_to_user
from hemai.overrides import SEARCH_PATH


def train(config: DictConfig, overrides: list[str]) -> dict[str, Any]:
    """Run one training from its composed configuration.

    Args:
        config: Of `configs/train.yaml`.
        overrides: What the user asked for; kept in the run folder, so that `resume` can repeat it.

    Returns:
        The content of `result.json`; with `find`, the setting that was found.
    """
    import pytorch_lightning as pl
    import torch

    from hemai import callbacks, runs, tables, trainer, tuning
    from hemai.build import build_data, build_model
    from hemai.report import report_run

    # Settings: everything that can be wrong is found before anything is written.
    if config.resume:  # its checkpoint holds the weights
        config.model.weights, config.model.pretrained = None, False
    pl.seed_everything(config.seed, verbose=False)
    data = build_data(config)
    data.setup()
    model = build_model(config, data)
    run = runs.choose_run(config, data.dataset.name)
    run_callbacks = callbacks.build_callbacks(
        run.folder, config.monitor, config.patience, config.save_every_n_steps, config.model.average_weights
    )
    machine = trainer.build_trainer(config.trainer, run_callbacks, run.folder)
    trainer.check_monitor(config, model.classes, model.positive, validated="val" in data.rows)
    trainer.check_batches(model, data.batch_size, machine.world_size)
    if config.find:
        return tuning.find(config.find, model, data, machine)
    runs.start_run(run, config, overrides, data)
    if machine.is_global_zero:
        tables.print_data(data)
        tables.print_start(model)

    # Training, from the start or from the last step that was saved.
    try:
        machine.fit(model, data, ckpt_path=run.last if config.resume else None, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        hint = f"go on with resume={run.folder}" if run.last.is_file() else "nothing was saved yet"
        raise UserError(f"stopped by the user; {hint}") from None

    # Figures of the best checkpoint, on every image exactly once. Its threshold is chosen between validation and test.
    model.load_state_dict(torch.load(run.best, map_location="cpu", weights_only=True)["state_dict"])
    for split in ("val", *data.test_names()):
        model.stage = split
        if split in data.rows:
            machine.test(model, data.eval_dataloader(split), verbose=False)
        if split == "val":
            runs.keep_operating_point(run, model, data, config.threshold)
    record = next(callback for callback in run_callbacks if isinstance(callback, callbacks.Record))
    result = runs.summarise(model, data, record)
    if machine.is_global_zero:
        runs.finish_run(run, model, data, record, result)
        tables.print_result(result, data, run.folder)
        if config.report and "test" in data.rows:
            report_run(run.folder, trust=config.trust or not config.resume)
    return result


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")
def main(config: DictConfig) -> None:
    """Let Hydra compose the configuration, once for each run of a sweep."""
    with shown_to_user():
        overrides = HydraConfig.get().overrides
        train(config, [*(each for each in overrides.hydra if each.startswith(SEARCH_PATH)), *overrides.task])


if __name__ == "__main__":
    with shown_to_user():
        sys.argv[1:] = checked_arguments(sys.argv[1:])
    main()
