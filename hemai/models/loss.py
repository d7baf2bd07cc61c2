"""Training losses by name, and class weights. To add a loss, write a function here and enter it in `LOSSES`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from hemai.utils.errors import UserError, check_fraction, check_number, did_you_mean


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor | None, label_smoothing: float
) -> torch.Tensor:
    """Cross-entropy of the softmax; see `torch.nn.functional.cross_entropy`."""
    return F.cross_entropy(logits, targets, weight, label_smoothing=label_smoothing)


def focal(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weight: torch.Tensor | None,
    label_smoothing: float,
    gamma: float = 2.0,
) -> torch.Tensor:
    """Focal loss: cross-entropy in which an image counts less, the more certain the network is of its class.

    Args:
        logits: float (N, classes).
        targets: int64 (N,).
        weight: Class weights, float (classes,); None: equal.
        label_smoothing: Label smoothing, 0..1.
        gamma: 0: cross-entropy; larger: certain images count less.

    Source: Lin et al., Focal loss for dense object detection, ICCV 2017, equation 5. Differs: for several classes by
    softmax, and averaged as PyTorch averages a weighted cross-entropy.
    """
    log_probabilities = logits.log_softmax(dim=1)
    smoothed = F.one_hot(targets, logits.shape[1]) * (1 - label_smoothing) + label_smoothing / logits.shape[1]
    weight = torch.ones_like(logits[0]) if weight is None else weight
    # Not 0: for a gamma below 1 the slope there is infinite, and the gradient would be NaN.
    doubt = (1 - log_probabilities.exp()).clamp_min(1e-7)
    losses = smoothed * weight * doubt**gamma * -log_probabilities
    return losses.sum() / weight[targets].sum()


LOSSES: dict[str, Callable[..., torch.Tensor]] = {"cross_entropy": cross_entropy, "focal": focal}


class Loss(nn.Module):
    """Training loss: a function of `LOSSES` with its settings.

    Args:
        settings: `name`, and further arguments of the function such as `gamma`; or the name alone.
        class_weights: One number, 0 or more, for each class; None: equal weights.
        label_smoothing: Label smoothing, 0..1.

    Raises:
        UserError: Unknown name or argument, or a number out of range.
    """

    weight: torch.Tensor | None

    def __init__(
        self,
        settings: Mapping[str, Any] | str,
        class_weights: Sequence[float] | str | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.arguments = {"name": settings} if isinstance(settings, str) else dict(settings)
        name = self.arguments.pop("name", None)
        if name not in LOSSES:
            raise UserError(f"model.loss.name={name}{did_you_mean(str(name), LOSSES)} (expected {', '.join(LOSSES)})")
        self.function = LOSSES[name]
        allowed = list(inspect.signature(self.function).parameters)[4:]
        for key, value in self.arguments.items():
            if key not in allowed:
                hint = did_you_mean(key, allowed)
                raise UserError(f"model.loss.{key}: unknown setting of {name}{hint}; expected {allowed or 'none'}")
            check_number(f"model.loss.{key}", value)
        check_fraction("model.label_smoothing", label_smoothing)
        self.label_smoothing = label_smoothing
        is_given = class_weights is not None and not isinstance(class_weights, str)  # else a checkpoint of format 1
        weight = torch.tensor(class_weights, dtype=torch.float) if is_given else None
        self.register_buffer("weight", weight, persistent=False)  # they are stored as hyperparameters

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch: logits (N, classes), targets int64 (N,)."""
        return self.function(logits, targets, self.weight, self.label_smoothing, **self.arguments)


def check_class_weights(weights: Any, classes: Sequence[str]) -> None:
    """Raise an error unless weights are one finite number for each class, 0 or more, "balanced", or None (equal).

    Raises:
        UserError: Invalid weights.
    """
    if weights in (None, "balanced"):
        return
    numbers = () if isinstance(weights, str) else weights
    fits = len(numbers) == len(classes) and all(isinstance(n, (int, float)) and 0 <= n < math.inf for n in numbers)
    if not fits or sum(numbers) <= 0:
        expected = f"balanced, or {len(classes)} numbers, 0 or more, for {', '.join(classes)}"
        raise UserError(f"model.class_weights={weights}: expected {expected}")


def balanced_class_weights(counts: Sequence[int]) -> list[float]:
    """Weights inversely proportional to the number of training images of each class; their mean over images is 1.

    Args:
        counts: Training images of each class.
    """
    return [sum(counts) / (len(counts) * count) for count in counts]
