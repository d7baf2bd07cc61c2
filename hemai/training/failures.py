"""What a failed training says: what happened, and how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from hemai.settings.run_folder import RunFolder
from hemai.utils.errors import UserError, one_line
from hemai.utils.failures import explain_failure


class _FirstBatch(Callback):
    """Remember whether training has begun: a checkpoint is then restored."""

    begun = False

    def on_train_batch_start(self, *_: Any) -> None:
        self.begun = True


@contextmanager
def explain_training_failures(trainer: pl.Trainer, run: RunFolder, is_resumed: bool) -> Iterator[None]:
    """Turn what stops a training into a `UserError` that says how to continue it.

    Args:
        trainer: Trainer of the run.
        run: Its folder.
        is_resumed: Whether the training starts from `last.ckpt`.

    Raises:
        UserError: The training was stopped, lost a process, ran out of memory or disk space, or has a `last.ckpt` that
            cannot be restored, or an argument of the Trainer that fits no other.
    """
    first = _FirstBatch()
    trainer.callbacks.append(first)  # type: ignore[attr-defined]
    try:
        yield
    except (SystemExit, KeyboardInterrupt):  # Lightning turns Ctrl-C into a SystemExit
        raise UserError(f"stopped by the user; {_how_to_continue(run)}") from None
    except UserError:
        raise
    except BrokenPipeError:  # the reader of the output has gone
        raise
    except Exception as error:
        if explained := explain_failure(error):
            raise UserError(f"{explained}; {_how_to_continue(run)}") from error
        if is_resumed and not first.begun:  # of any kind: Lightning reads its own state without checks
            reason = one_line(f"{type(error).__name__}: {error}")
            raise UserError(f"resume: {run.last} is damaged ({reason}); copy it again, or start a new run") from error
        if isinstance(error, (MisconfigurationException, ValueError)) and not first.begun:
            raise UserError(f"trainer: {one_line(error)}") from error
        raise
    finally:
        trainer.callbacks.remove(first)  # type: ignore[attr-defined]


def _how_to_continue(run: RunFolder) -> str:
    return f"continue with resume={run.folder}" if run.last.is_file() else "nothing was saved yet"
