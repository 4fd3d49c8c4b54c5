"""Random draws made some at a time, so that memory stays bounded on large sets."""

from __future__ import annotations

from collections.abc import Iterator

LARGEST = 2_000_000
"""Numbers held at once."""


def chunks(rows: int, width: int) -> Iterator[int]:
    """How many of `rows` rows of `width` numbers to draw at a time.

    Example:
        >>> list(chunks(5, LARGEST // 2)), list(chunks(2, 10 * LARGEST)), list(chunks(9, 10))
        ([2, 2, 1], [1, 1], [9])
    """
    step = max(1, LARGEST // width)
    for start in range(0, rows, step):
        yield min(step, rows - start)
