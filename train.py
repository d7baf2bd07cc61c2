"""Train and test a classifier of cells: `python train.py group=name key=value ...`

This file shows the whole run, from settings to metrics; `configs/` holds every setting.
Research software, not a medical device.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import CONFIGS
from hemai.settings.help import help_text
from hemai.settings.overrides import SEARCH_PATH
from hemai.utils.boundary import exit_on_user_error, stop_on_signals
from hemai.utils.encoding import use_utf8
from hemai.utils.memory import keep_freed_memory
from hemai.utils.terminal import quieten


def train(config: DictConfig, overrides: list[str]) -> dict[str, Any]:
    """Run one training from its composed configuration.

    Args:
        config: Configuration composed from `configs/train.yaml`.
        overrides: Overrides that the user typed; stored in the run folder for `resume`.

    Returns:
        Content of `result.json`; with `find`, the setting that was found.
    """
    import pytorch_lightning as pl

    from hemai.evaluation.operating_point import choose_operating_point
    from hemai.reporting import console as tables
    from hemai.reporting.report import report_run
    from hemai.runs.build import build_data, build_model, read_validation
    from hemai.runs.hold import hold_run_folder
    from hemai.runs.start import claim_run_folder, restore_network, start_run
    from hemai.settings.instantiate import build_group
    from hemai.training import tuning
    from hemai.training.callbacks import build_callbacks
    from hemai.training.failures import explain_training_failures
    from hemai.training.loggers import build_loggers, log_settings
    from hemai.training.probe import check_probe, fit_probe, predict_probe
    from hemai.training.result import finish_run, load_best, predict_split, store_threshold_and_temperature, summarise
    from hemai.training.trainer import build_trainer, check_batches, check_monitor
    from hemai.utils.errors import UserError

    # Settings: errors are found before anything is written.
    if config.resume:
        restore_network(config)
    if config.find and config.probe:
        raise UserError("find and probe: a probe has no learning rate and no batches; remove one")
    if config.find:  # a schedule would override the rate that is tried
        config.model.schedule, config.model.plateau = None, None
    pl.seed_everything(config.seed, verbose=False)
    data = build_data(config)
    data.setup()
    model = build_model(config, data)
    if config.find:
        return tuning.tune_setting(config, model, data)
    with claim_run_folder(config, data.dataset.name) as run:  # given back if a check fails
        callbacks = build_callbacks(run, config.monitor, config.patience, config.save_every_n_steps, config.plots)
        callbacks += build_group(config.get("callbacks"))
        trainer = build_trainer(config.trainer, callbacks, build_loggers(config.get("logger"), run.folder), run.folder)
        if config.probe:
            check_probe(config, model, trainer.world_size)
        check_monitor(config, model.classes, model.positive, validated="val" in data.rows or config.probe)
        check_batches(model, data.batch_size, trainer.world_size)
        elsewhere = read_validation(config, model, data)
        start_run(run, config, overrides, data)
    if trainer.is_global_zero:
        tables.print_data(data)
        tables.print_start(model)

    # Training, from the start or from the last saved step.
    log_settings(trainer.loggers, config)
    held = hold_run_folder(run) if trainer.is_global_zero else nullcontext()
    with held, explain_training_failures(trainer, run, is_resumed=bool(config.resume)):
        if config.probe:
            probe = fit_probe(trainer, model, data, run)
        else:
            trainer.fit(model, data, ckpt_path=run.last if config.resume else None, weights_only=True)

        # The best checkpoint predicts every image once. Its threshold is chosen on validation images, before the test.
        best = load_best(run, model)
        predict = predict_probe if config.probe else predict_split
        predictions = {"val": predict(trainer, model, data, "val")} if "val" in data.rows else {}
        wanted, validation = config.threshold, elsewhere or predictions.get("val")
        source = "validation" if elsewhere is None else "out-of-fold predictions"
        point = choose_operating_point(validation, wanted.rule, wanted.sensitivity, wanted.confidence, source)
        store_threshold_and_temperature(run, best, point)
        predictions |= {split: predict(trainer, model, data, split, point) for split in data.test_names()}
        result = summarise(predictions, point, model, data, callbacks)
        if config.probe:
            result |= probe.results(result, config.monitor)
    if trainer.is_global_zero:
        finish_run(run, config, predictions, data, callbacks, trainer.loggers, best["epoch"] + 1, result)
        tables.print_result(result, data, run.folder)
        if config.report and "test" in data.rows:
            report_run(run.folder, trust=config.trust is True or not config.resume)
    return result


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")
def main(config: DictConfig) -> float | None:
    """Run one training with the configuration that Hydra composed; return the score that a sweeper optimises."""
    with exit_on_user_error():
        quieten()  # here, since it imports Lightning, which --help can do without
        keep_freed_memory()
        overrides = HydraConfig.get().overrides
        searched = [override for override in overrides.hydra if override.startswith(SEARCH_PATH)]
        return train(config, [*searched, *overrides.task]).get("score")


if __name__ == "__main__":
    stop_on_signals()
    with exit_on_user_error():
        use_utf8()
        if {"--help", "-h"} & set(sys.argv):
            print(help_text(sys.argv[1:]))
            sys.exit()
        sys.argv[1:] = parse_arguments(sys.argv[1:])
        main()
