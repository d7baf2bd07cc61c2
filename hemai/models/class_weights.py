"""Weights of the classes in the training loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hemai.errors import UserError

Setting = Sequence[float] | str | None


def check_class_weights(setting: Setting, classes: Sequence[str]) -> None:
    """Refuse what is neither "balanced", nor one number for each class, nor None: equal weights.

    Raises:
        UserError: With what was expected.
    """
    if setting in (None, "balanced"):
        return
    numbers = () if isinstance(setting, str) or setting is None else setting
    fits = len(numbers) == len(classes) and all(isinstance(n, (int, float)) and n >= 0 for n in numbers)
    if not fits or sum(numbers) <= 0:
        expected = f"balanced or {len(classes)} numbers from 0, for {', '.join(classes)}"
        raise UserError(f"model.class_weights={setting}: expected {expected}")


def weigh_classes(setting: Setting, counts: Sequence[int], device: torch.device) -> torch.Tensor | None:
    """The weights of a setting, float (classes,).

    Args:
        setting: See `check_class_weights`; "balanced": inversely proportional to the counts.
        counts: Training images of each class.
        device: Where they are needed.
    """
    if setting is None:
        return None
    if setting == "balanced":
        images = torch.tensor(counts, dtype=torch.float, device=device)
        return images.sum() / (len(images) * images)
    return torch.tensor(setting, dtype=torch.float, device=device)
