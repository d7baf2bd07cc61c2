"""DataLoaders that name their split, and one that goes on in mid-epoch where a stopped training was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader

from hemai.data.cell_images import Batch
from hemai.data.sampler import ResumableBatchSampler


def split_of(loaders: Any, dataloader_idx: int, default: str) -> str:
    """Name of the split that a loader reads.

    Args:
        loaders: One or several, as a Trainer holds them.
        dataloader_idx: Which of several.
        default: Name where the data do not tell.

    Returns:
        The name, with the number of the loader where an earlier one has the same.
    """
    several = loaders if isinstance(loaders, Sequence) else [loaders]
    names = [getattr(getattr(loader, "dataset", None), "split", None) or default for loader in several]
    name = str(names[dataloader_idx])
    return f"{name}_{dataloader_idx}" if name in names[:dataloader_idx] else name


class ResumableDataLoader(DataLoader[Batch]):
    """A loader whose place in the epoch every Lightning Trainer saves and restores with its checkpoints.

    Takes the arguments of `torch.utils.data.DataLoader`; `sampler` is a `ResumableBatchSampler`.
    """

    sampler: ResumableBatchSampler
    _batches = 0  # that were handed out in this epoch: workers read ahead, so the sampler does not know

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self._batches = self.sampler.first_batch
        for batch in super().__iter__():
            self._batches += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Epoch and number of batches that were handed out."""
        return {"epoch": self.sampler.epoch, "batch": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next iteration begin after these batches; after the last one, with the next epoch."""
        epoch, batch = state_dict["epoch"], state_dict["batch"]
        epoch, batch = (epoch + 1, 0) if batch >= len(self.sampler) else (epoch, batch)
        self.sampler.resume_at(epoch, batch)
        self._batches = batch
