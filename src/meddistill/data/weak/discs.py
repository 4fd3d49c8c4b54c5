"""A small disc (ball) inside an object, at a random place or in its middle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from meddistill.data.weak.base import DrawnLabel, Mask, check_option, check_whole
from meddistill.data.weak.shapes import depth, only, widened

Centre = Literal["centroid", "deepest"]
Pixel = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Disc(DrawnLabel):
    """A disc round a random pixel of the class, cut to the mask.

    Args:
        background: draw into the background (class 0) too.
        parts: one disc for each `class`, or for each `object`.
        axis: for volumes, a disc in every slice across this axis instead of one ball.
        width: pixels across, 1 or more.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> int((Disc(width=4)(np.pad(np.ones((40, 40), dtype=int), 9), seed=3) == 1).sum())
        12
    """

    width: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("width", self.width, least=1)

    def mark(self, mask: Mask, generator: np.random.Generator) -> Mask:
        """The disc."""
        return widened(only(self.pixel(mask, generator)[None], mask.shape), self.width)

    def pixel(self, mask: Mask, generator: np.random.Generator) -> Pixel:
        """The pixel (dims,) round which the disc is drawn."""
        pixels = np.argwhere(mask)
        drawn: Pixel = pixels[generator.integers(len(pixels))]
        return drawn


@dataclass(frozen=True, kw_only=True)
class CentralDisc(Disc):
    """A disc round the pixel of the class nearest to its centroid, or deepest inside, cut to the mask.

    Args:
        background: draw into the background (class 0) too.
        parts: one disc for each `class`, or for each `object`.
        axis: for volumes, a disc in every slice across this axis instead of one ball.
        width: pixels across, 1 or more.
        centre: `centroid` or `deepest`.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> np.argwhere(CentralDisc(width=1)(np.ones((3, 5), dtype=int)) == 1).tolist()
        [[1, 2]]
    """

    centre: Centre = "centroid"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("centre", self.centre, get_args(Centre))

    def pixel(self, mask: Mask, generator: np.random.Generator) -> Pixel:  # noqa: ARG002
        """The pixel in the middle."""
        pixels = np.argwhere(mask)
        off = -depth(mask)[mask] if self.centre == "deepest" else ((pixels - pixels.mean(0)) ** 2).sum(1)
        middle: Pixel = pixels[off.argmin()]
        return middle
