"""Terminal output: sentences, tables and progress bars."""

from __future__ import annotations

import logging
import sys
import threading
import time
import warnings
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from rich import box
from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from hemai.utils.boundary import quieten_pillow
from hemai.utils.errors import CONTROL
from hemai.utils.failures import explain_failure

if TYPE_CHECKING:  # a help does without pandas
    import pandas as pd

TEXT_WIDTH = 12  # characters; narrower columns of text are hard to read
LINE_EVERY_S = 60
T = TypeVar("T")
MESSAGES = (
    ".*does not have many workers.*",  # on a CPU workers would take the network's cores
    ".*is not supported by the model summary.*",
    ".*treespec, LeafSpec.*",  # torch 2.15 about Lightning 2.6
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*AMP with fp16 is not supported on CPU.*",  # hemai raises its own error
    ".*all_gather.* is deprecated.*",  # torch 2.15 about Lightning 2.6
    ".*sync_dist=True.*",  # all devices computed the metric from the same gathered logits
    ".*Total length of `list` across ranks is zero.*",  # no validation images: already reported
    ".*is smaller than the logging interval.*",  # metrics are logged once an epoch
    ".*couldn't infer the indices fetched.*",  # predictions carry their index
)


def say(*sentences: str) -> None:
    """Print sentences as a list, which the terminal wraps."""
    for sentence in sentences:
        print(f"- {CONTROL.sub('?', sentence)}")


def show_table(frame: pd.DataFrame, title: str = "", texts: int = 1, ends: Collection[int] = ()) -> None:
    """Print a table; see `build_table`.

    Args:
        frame: Table with cells as text.
        title: Line above the table.
        texts: Number of text columns, which come first.
        ends: Indices of the rows that are followed by a rule.
    """
    if title:
        print(CONTROL.sub("?", title))
    # With soft wrapping the terminal wraps long rows; otherwise rich truncates them.
    Console().print(build_table(frame, texts, ends), soft_wrap=True)


def build_table(frame: pd.DataFrame, texts: int = 1, ends: Collection[int] = ()) -> Table:
    """Build a table that may fold text but never truncates numbers; see `show_table`."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, name in enumerate(frame.columns):
        words = max(map(len, str(name).split()), default=0)
        width = max([words, *frame.iloc[:, number].astype(str).str.len()])
        is_text = number < texts
        table.add_column(
            Text(CONTROL.sub("?", str(name))),
            justify="left" if is_text else "right",
            overflow="fold",
            min_width=min(width, max(words, TEXT_WIDTH)) if is_text else width,
        )
    for number, row in enumerate(frame.astype(str).itertuples(index=False, name=None)):
        table.add_row(*(Text(CONTROL.sub("?", cell)) for cell in row), end_section=number in ends)
    return table


def fits(table: Table) -> bool:
    """Whether a table fits the width of the terminal without folding."""
    console = Console()
    return console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width


class _Rate(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else _per_second(speed))


def _per_second(rate: float) -> str:
    return f"{rate:,.{0 if rate >= 10 else 1}f}/s"


def track(items: Iterable[T], title: str, total: int, done: int = 0) -> Iterator[T]:
    """Iterate over `items` with a progress bar: rate and time left; without a terminal in a line a minute.

    The bar is written to stderr, so that the output of a command can be piped.

    Args:
        items: What to iterate over.
        title: Text before the bar.
        total: Number of items, with those done before.
        done: Number of items that were done before, such as by a killed process.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        print(title, file=sys.stderr, flush=True)
        yield from _track_in_lines(items, title, total, done)
        return
    columns = (*Progress.get_default_columns()[:3], _Rate(), TimeRemainingColumn(elapsed_when_finished=True))
    with Progress(*columns, console=console) as progress:
        yield from progress.track(items, total, completed=done, description=title)


def _track_in_lines(items: Iterable[T], title: str, total: int, done: int) -> Iterator[T]:
    start = last = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        if (now := time.monotonic()) - last >= LINE_EVERY_S:
            last, rate = now, number / (now - start)
            left = (total - done - number) / rate / 60
            line = f"{title}: {done + number:,} of {total:,}, {_per_second(rate)}, {left:,.0f} min left"
            print(line, file=sys.stderr, flush=True)


def quieten() -> None:
    """Hide library warnings and notes that hemai reports itself; for scripts, never on import."""
    import pytorch_lightning  # noqa: F401  sets its log level on import

    quieten_pillow()
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It says which process died, before Lightning ends the others.
    logging.getLogger("lightning_fabric.strategies.launchers.subprocess_script").setLevel(logging.INFO)
    for message in MESSAGES:
        warnings.filterwarnings("ignore", message=message)
    threading.excepthook = _explain_thread


def _explain_thread(failed: threading.ExceptHookArgs) -> None:
    """In one line what ended a thread of a library, such as a full disk under TensorBoard."""
    message = explain_failure(failed.exc_value) if failed.exc_value else None
    if message is None:
        threading.__excepthook__(failed)
    else:
        print(f"warning: {message}", file=sys.stderr, flush=True)
