"""The boundary of every command: failures become one line and an exit status, never a traceback."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hemai.utils.errors import CONTROL
from hemai.utils.failures import explain_failure

STOPPED, PIPE_CLOSED = 130, 141  # exit statuses of a shell for SIGINT and SIGPIPE
_stopping = threading.Event()


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print a failure that the user can mend without a traceback, and exit with status 2.

    A stop by the user exits with 130. If the reader of the output has gone, as in `| head -1`, the command ends
    quietly with 141.
    """
    try:
        yield
        sys.stdout.flush()  # here, since a pipe that is found closed on exit prints a traceback
    except KeyboardInterrupt:
        print("stopped by the user", file=sys.stderr)
        raise SystemExit(STOPPED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(PIPE_CLOSED) from None
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # rich turns it into status 1
            raise SystemExit(PIPE_CLOSED) from None
        raise
    except Exception as error:
        message = explain_failure(error)
        if message is None:
            raise
        print(f"error: {CONTROL.sub('?', message)}", file=sys.stderr)
        raise SystemExit(2) from None


def quieten_pillow() -> None:
    """Hide what Pillow says of damaged images, which hemai reports itself; for scripts, never on import."""
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"PIL\.")


def stop_on_signals() -> None:
    """Let a closed terminal (SIGHUP) and `kill` (SIGTERM) stop a command as Ctrl-C does; `nohup` still holds.

    A second signal ends the command at once, without a traceback of what the first was tidying up.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may set handlers
    for name in ("SIGINT", "SIGHUP", "SIGTERM"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    if _stopping.is_set():
        os._exit(STOPPED)
    _stopping.set()
    raise KeyboardInterrupt(signal.Signals(number).name)
