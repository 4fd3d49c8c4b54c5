"""A stroke along the middle of an object, as an annotator draws one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meddistill.data.weak.base import DrawnLabel, Mask, Parts, check_whole
from meddistill.data.weak.paths import central_path
from meddistill.data.weak.shapes import only, widened
from meddistill.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Scribble(DrawnLabel):
    """The longest stroke within the object that keeps to its middle, without its ends, cut to the mask.

    The stroke follows the ridge of the distance map as a skeleton does, but is one line without branches;
    see `meddistill.data.weak.paths`.

    Args:
        background: a stroke through the background (class 0) too.
        parts: one stroke for each `object`, or for each `class`, through its deepest part.
        axis: for volumes, a stroke in every slice across this axis, as scribbles are drawn.
        thickness: pixels across, 1 or more.
        length: share of the longest stroke that is kept, round its middle, above 0 and at most 1.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> label = np.zeros((5, 12), dtype=int)
        >>> label[1:4, 1:11] = 1
        >>> np.argwhere(Scribble(length=0.5)(label) == 1).tolist()
        [[2, 4], [2, 5], [2, 6], [2, 7], [2, 8]]
    """

    parts: Parts = "object"
    thickness: int = 1
    length: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("thickness", self.thickness, least=1)
        if not isinstance(self.length, int | float) or not 0 < self.length <= 1:
            raise ConfigError(
                f"weak label: length must be a number above 0 and at most 1, not {self.length!r}"
            )

    def mark(self, mask: Mask, generator: np.random.Generator) -> Mask:  # noqa: ARG002 - no chance
        """The stroke."""
        path = central_path(mask)
        kept = max(1, round(self.length * len(path)))
        start = (len(path) - kept) // 2
        return widened(only(path[start : start + kept], mask.shape), self.thickness)
