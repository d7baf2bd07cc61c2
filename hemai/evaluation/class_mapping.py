"""Mapping from the classes of a data set to those of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from scipy.special import logsumexp

from hemai.evaluation.predictions import Predictions
from hemai.utils.errors import UserError, did_you_mean, shorten
from hemai.utils.files import read_regular_file

EXPECTED = "expected 'Benign: hem, Early: all', or a YAML file of such lines; join classes with +: 'all: Early+Pre+Pro'"


def read_class_names(text: str) -> dict[str, tuple[str, ...]]:
    """Parse a mapping from the classes of a data set to those of a network.

    Args:
        text: `Benign: hem, Early: all`, or the path of a YAML file with one pair per line. `+` joins several classes
            of the network that are one class of the data set.

    Returns:
        Class of the data set -> classes of the network.

    Raises:
        UserError: The text has another form.
    """
    is_file = text.endswith((".yaml", ".yml"))
    try:
        # compose, not load: "no" stays a name instead of false, and a repeated name is not lost.
        node = yaml.compose(
            read_regular_file(Path(text)).decode() if is_file else "{" + text.strip("{} ") + "}", yaml.BaseLoader
        )
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"--classes: cannot read {text} ({' '.join(str(error).split())}); {EXPECTED}") from error
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    if not pairs or not all(isinstance(part, yaml.ScalarNode) and part.value for pair in pairs for part in pair):
        raise UserError(f"--classes={text}: {EXPECTED}")
    names = {name.value: tuple(part.strip() for part in joined.value.split("+")) for name, joined in pairs}
    invalid = {name for name, joined in names.items() if len(set(joined)) < len(joined) or "" in joined}
    if len(names) < len(pairs) or invalid:
        raise UserError(f"--classes={text}: a name is repeated, or missing beside +; {EXPECTED}")
    return names


def check_class_names(
    names: Mapping[str, tuple[str, ...]], data_classes: Sequence[str], classes: Sequence[str], positive: Sequence[str]
) -> None:
    """Reject a class mapping that does not fit the data set and the network.

    Raises:
        UserError: An unknown class, a class of the data set that is not mapped, classes of the data set that share some
            but not all of their classes of the network, or malignant and benign ones that are joined.
    """
    if unknown := [name for name in names if name not in data_classes]:
        raise UserError(
            f"--classes: the data set has no class {unknown[0]}{did_you_mean(unknown[0], data_classes)} "
            f"(expected {shorten(data_classes)})"
        )
    if missing := [name for name in data_classes if name not in names]:
        raise UserError(f"--classes: class {shorten(missing)} of the data set is not mapped; {EXPECTED}")
    for name, joined in names.items():
        if unknown := [label for label in joined if label not in classes]:
            raise UserError(
                f"--classes: the checkpoint has no class {unknown[0]}{did_you_mean(unknown[0], classes)} "
                f"(expected {shorten(classes)})"
            )
        if 0 < len(set(joined) & set(positive)) < len(joined):
            raise UserError(f"--classes: {name} joins malignant and benign classes ({'+'.join(joined)})")
        for other, others in names.items():
            if set(joined) != set(others) and set(joined) & set(others):
                raise UserError(
                    f"--classes: {name} and {other} share {shorten(set(joined) & set(others))}, but not all"
                )


def merge_classes(predictions: Predictions, joined: Iterable[tuple[str, ...]]) -> Predictions:
    """Merge the classes of a network that a data set does not distinguish.

    Args:
        predictions: Predictions with all classes of the network.
        joined: Classes of the network that become one, a tuple for each class of the data set.

    Returns:
        The predictions with merged classes, named like `Early+Pre+Pro`; their probabilities are summed.
    """
    merged_of = {label: labels for labels in joined for label in labels}
    merged = list(dict.fromkeys(merged_of.get(label, (label,)) for label in predictions.classes))
    logits = np.stack(
        [logsumexp(predictions.logits[:, [predictions.classes.index(c) for c in labels]], axis=1) for labels in merged],
        axis=1,
    )
    new_name = {label: "+".join(labels) for labels in merged for label in labels}
    return replace(
        predictions,
        table=predictions.table.assign(label=predictions.table["label"].map(new_name)),
        logits=logits,
        classes=tuple("+".join(labels) for labels in merged),
        positive=tuple("+".join(labels) for labels in merged if labels[0] in predictions.positive),
        # The temperature was fitted to the separate classes.
        temperature=predictions.temperature if len(merged) == len(predictions.classes) else None,
    )
