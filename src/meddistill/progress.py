"""A progress bar on stderr for people, nothing for pipes and logs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")


@contextlib.contextmanager
def progress(
    description: str, total: int | None, *, done: int = 0, in_bytes: bool = False
) -> Iterator[Callable[[int], None]]:
    """Yield a function that moves the bar by so many steps; the bar is drawn only when stderr is a terminal.

    Args:
        description: what is going on, in a few words.
        total: number of steps; None when it is unknown.
        done: steps that were done before.
        in_bytes: show sizes and speed in bytes instead of a count.

    Example:
        >>> with progress("reading", 3) as advance:
        ...     for _ in range(3):
        ...         advance(1)
    """
    if not sys.stderr.isatty():
        yield _no_bar
        return
    from rich import progress as bars
    from rich.console import Console

    measure: bars.ProgressColumn = bars.DownloadColumn() if in_bytes else bars.MofNCompleteColumn()
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), measure, bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total, completed=done)
        yield lambda steps: bar.advance(task, steps)


def track(items: Iterable[Item], description: str, *, total: int | None = None) -> Iterator[Item]:
    """`items`, with a bar that moves after each; `total` is needed where they have no length.

    Example:
        >>> list(track([1, 2], "counting"))
        [1, 2]
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(description, total) as advance:
        for item in items:
            yield item
            advance(1)


def _no_bar(_steps: int) -> None:
    """Draw nothing."""
