"""Progress bars of work that is not training."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

T = TypeVar("T")


def track(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Go through `items` with a bar on a terminal, with one line elsewhere.

    The bar is written to stderr, so that the output of a command can be piped.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        print(title, file=sys.stderr, flush=True)
        yield from items
        return
    yield from rich_track(items, description=title, total=total, console=console)
