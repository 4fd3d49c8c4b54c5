"""A few pixels: the extreme ones, or some at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meddistill.data.weak.base import DrawnLabel, Mask, Parts, check_whole
from meddistill.data.weak.shapes import only, widened


@dataclass(frozen=True, kw_only=True)
class ExtremePoints(DrawnLabel):
    """The first and the last pixel of an object along every axis, where several tie the middle one.

    Args:
        background: the extreme pixels of the background (class 0) too.
        parts: the extreme points of each `object`, or of each `class`.
        axis: for volumes, the extreme points of every slice across this axis.
        width: pixels across of the disc round each, cut to the mask; 1 for the pixel alone.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> np.argwhere(ExtremePoints()(np.ones((3, 5), dtype=int)) == 1).tolist()
        [[0, 2], [1, 0], [1, 4], [2, 2]]
    """

    parts: Parts = "object"
    width: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("width", self.width, least=1)

    def mark(self, mask: Mask, generator: np.random.Generator) -> Mask:  # noqa: ARG002 - no chance
        """The points, made wider."""
        pixels = np.argwhere(mask)
        ties = [pixels[along == extreme] for along in pixels.T for extreme in (along.min(), along.max())]
        return widened(only(np.stack([tied[len(tied) // 2] for tied in ties]), mask.shape), self.width)


@dataclass(frozen=True, kw_only=True)
class RandomPixels(DrawnLabel):
    """Pixels drawn at random without putting back; all of them where there are fewer.

    Args:
        background: pixels of the background (class 0) too.
        parts: `count` pixels of each `class`, or of each `object`.
        axis: for volumes, `count` pixels of every slice across this axis.
        count: how many, 1 or more.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> int((RandomPixels(count=3)(np.ones((3, 5), dtype=int)) == 1).sum())
        3
    """

    count: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("count", self.count, least=1)

    def mark(self, mask: Mask, generator: np.random.Generator) -> Mask:
        """The pixels."""
        pixels = np.argwhere(mask)
        drawn = generator.choice(len(pixels), min(self.count, len(pixels)), replace=False)
        return only(pixels[drawn], mask.shape)
