"""Errors that a user can mend: they are printed without a traceback."""

from __future__ import annotations

import difflib
import errno
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Something outside the code is wrong: a path, a file, a name, a setting.

    The message says what was found, what was expected and what to do.
    """


def nearest(name: str, options: Iterable[str]) -> str:
    """Suggest the option that looks most like `name`.

    Returns:
        `"; did you mean 'x'?"`, or an empty string if nothing comes near.
    """
    by_lower = {option.lower(): option for option in options}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f"; did you mean '{by_lower[found[0]]}'?" if found else ""


def some(names: Iterable[object], most: int = 5) -> str:
    """List the first names, and how many more there are: `a, b, c and 7 more`."""
    texts = [str(name) for name in names]
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


@contextmanager
def shown_to_user() -> Iterator[None]:
    """Print a `UserError` without a traceback, and exit with status 2.

    Libraries wrap what is raised inside them, so its causes are searched too. A full disk and a stop
    by the user are told in words as well.
    """
    try:
        yield
    except KeyboardInterrupt:
        print("stopped by the user", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, (UserError, OSError)):
            cause = cause.__cause__ or cause.__context__
        if isinstance(cause, UserError):
            message = str(cause)
        elif isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            message = f"the disk is full: {cause}; free space and run the command again"
        else:
            raise
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2) from None
