"""The space of a search: settings, and the values that are tried for each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import BaseTrial
from yaml import YAMLError

from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import defaults
from hemai.utils.errors import UserError, did_you_mean, one_line
from hemai.utils.files import read_regular_file

# What changes the network or its training. Not the images, their split or the metric, by which trials are compared;
# not the number of epochs, since the best one is chosen anyway.
SEARCHED = re.compile(
    r"\+?(model(?!\.seed$)|transform)(\.|$)|data\.(batch_size|balance|add_segmented_twins)$"
    r"|\+?trainer\.(accumulate_grad_batches|gradient_clip_val|precision)$"
)
EXPECTED = "a list of values, or {low: 1e-5, high: 1e-2, log: true}"
LINE = "model.optimizer.lr: {low: 1e-5, high: 1e-2, log: true}"
RANGE = ("low", "high", "log", "step")
Value = str | int | float | bool | None


@dataclass(frozen=True)
class Space:
    """Settings that a search tries.

    Attributes:
        file: File that describes it, for messages.
        distributions: Key of a setting -> its values.
    """

    file: Path
    distributions: Mapping[str, BaseDistribution]

    def draw(self, trial: BaseTrial) -> list[str]:
        """Overrides with the values that a trial suggests."""
        return [f"{key}={_text(_suggest(trial, key, of_key))}" for key, of_key in self.distributions.items()]

    def check(self, overrides: Sequence[str]) -> None:
        """Compose every listed value, and both ends of every range, at least once.

        Args:
            overrides: Settings that all trials share.

        Raises:
            UserError: A setting that is unknown, shared by all trials or not to be searched, or a wrong value.
        """
        for key in self.distributions:
            if not SEARCHED.match(key):
                known = [name for name in defaults(overrides) if SEARCHED.match(name)]
                raise UserError(
                    f"{self.file}: {key} cannot be searched{did_you_mean(key, known)} (expected model, transform, keys "
                    "of these two, data.batch_size, data.balance, data.add_segmented_twins, "
                    "trainer.accumulate_grad_batches, trainer.gradient_clip_val or trainer.precision)"
                )
            if given := [each for each in overrides if each.split("=")[0].lstrip("+") == key.lstrip("+")]:
                raise UserError(f"{given[0]}: {self.file} searches {key}; remove it here or there")
        values = {key: _ends(of_key) for key, of_key in self.distributions.items()}
        first = {key: ends[0] for key, ends in values.items()}
        for key, ends in values.items():
            for value in ends:
                drawn = [f"{name}={_text(each)}" for name, each in (first | {key: value}).items()]
                try:
                    parse_arguments([*overrides, *drawn])
                except UserError as error:
                    raise UserError(f"{self.file}: {error}") from error

    def as_text(self) -> dict[str, str]:
        """Key -> description of its values, to compare spaces."""
        return {key: distribution_to_json(of_key) for key, of_key in self.distributions.items()}


def read_space(file: Path) -> Space:
    """Read a search space from a YAML file.

    Each line is the key of a setting and its values: a list, or a range `{low: 1e-5, high: 1e-2, log: true}`. With
    `log` the logarithm is searched evenly; `step` is the distance of neighbouring values. A range of whole numbers
    has whole numbers.

    Raises:
        UserError: The file cannot be read, or describes no values.
    """
    try:
        # OmegaConf takes 1e-5 for a number, as Hydra does; plain YAML 1.1 takes it for a text.
        content: Any = OmegaConf.to_container(OmegaConf.create(read_regular_file(file).decode()))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"--space: cannot read {file} ({one_line(error)}); expected lines such as {LINE}") from error
    if not isinstance(content, dict) or not content or None in content.values():
        raise UserError(f"--space: {file} holds no space; expected lines such as {LINE}")
    return Space(file, {str(key): _distribution(f"{file}: {key}", values) for key, values in content.items()})


def _distribution(name: str, values: Any) -> BaseDistribution:
    if isinstance(values, list) and values:
        if wrong := [value for value in values if not isinstance(value, Value)]:
            raise UserError(
                f"{name}: found {wrong[0]}; expected numbers, words, true, false or null; write a list as text: "
                '"[0.9, 0.99]"'
            )
        if len({_text(value) for value in values}) < len(values):
            raise UserError(f"{name}: a value occurs twice in {values}; remove one")
        return CategoricalDistribution(values)
    if not isinstance(values, dict) or not {"low", "high"} <= values.keys():
        nested = "; write keys in one line, model.optimizer.lr" if isinstance(values, dict) else ""
        raise UserError(f"{name}: found {one_line(values, 80)}, expected {EXPECTED}{nested}")
    if unknown := sorted(values.keys() - set(RANGE)):
        raise UserError(f"{name}: unknown {unknown[0]}{did_you_mean(unknown[0], RANGE)} (expected {', '.join(RANGE)})")
    range_: dict[str, Any] = {"log": False, "step": None} | values
    low, high, log, step = (range_[key] for key in RANGE)
    for key, number in (("low", low), ("high", high), ("step", step or 1)):
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise UserError(f"{name}: {key}={number}: expected a number")
    if not isinstance(log, bool):
        raise UserError(f"{name}: log={log}: expected true or false")
    if low >= high:
        raise UserError(f"{name}: low={low} and high={high}: expected low below high")
    try:
        if all(isinstance(number, int) for number in (low, high, step or 1)):
            return IntDistribution(low, high, log, step or 1)
        return FloatDistribution(low, high, log, step)
    except ValueError as error:  # such as a logarithm of 0, or log and step
        raise UserError(f"{name}: {one_line(error)}") from error


def _suggest(trial: BaseTrial, key: str, values: BaseDistribution) -> Value:
    if isinstance(values, FloatDistribution):
        return trial.suggest_float(key, values.low, values.high, step=values.step, log=values.log)
    if isinstance(values, IntDistribution):
        return trial.suggest_int(key, values.low, values.high, step=values.step, log=values.log)
    assert isinstance(values, CategoricalDistribution)
    return trial.suggest_categorical(key, values.choices)


def _ends(values: BaseDistribution) -> list[Value]:
    if isinstance(values, CategoricalDistribution):
        return list(values.choices)
    assert isinstance(values, FloatDistribution | IntDistribution)
    return [values.low, values.high]


def _text(value: Value) -> str:
    """Value in Hydra's grammar."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
