"""An object that was worn away until little of it is left: a seed inside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meddistill.data.weak.base import DrawnLabel, Mask, check_whole
from meddistill.data.weak.shapes import depth


@dataclass(frozen=True, kw_only=True)
class Eroded(DrawnLabel):
    """The mask eroded by 3 x 3 (x 3) pixels as often as it survives, but at most `iterations` times.

    This is the erosion strategy of the weak labels that ConfKD was trained with. A mask that no erosion
    survives stays whole.

    Args:
        background: draw into the background (class 0) too.
        parts: erode each `class` as a whole, or each `object` as often as it survives.
        axis: for volumes, erode in every slice across this axis by itself.
        iterations: erosions to try, 0 or more.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> label = np.pad(np.ones((7, 5), dtype=int), 1)
        >>> np.argwhere(Eroded()(label) == 1).tolist()
        [[3, 3], [4, 3], [5, 3]]
    """

    iterations: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("iterations", self.iterations, least=0)

    def mark(self, mask: Mask, generator: np.random.Generator) -> Mask:  # noqa: ARG002 - no chance
        """The pixels deeper in the mask than the erosions reach, counted in king's moves."""
        distance = depth(mask, chessboard=True)
        survived: Mask = distance > min(self.iterations, distance.max() - 1)
        return survived
