"""Bounding boxes as labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.weak.base import DrawnLabel, Index, Map, Mask, Parts, check_option, check_whole
from meddistill.errors import ConfigError

Inside = Literal["class", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Box(DrawnLabel):
    """The bounding box of each object, filled with its class, or with everything outside as background.

    With `inside: class` every pixel of a box has the class of its object, **also those that the full label
    gives another class**: this is the one weak label that may be wrong. Where boxes overlap the smaller one
    lies on top. With `inside: unknown` the boxes stay unlabelled and say only where nothing is: the
    background around them is labelled, and never wrongly.

    Args:
        background: label what lies outside all boxes as background; `inside: unknown` needs it.
        parts: one box for each `class`, or for each `object`.
        axis: for volumes, a box in every slice across this axis.
        inside: `class` or `unknown`.
        margin: pixels by which each side lies further out than the object.

    Raises:
        ConfigError: an option is out of range, or nothing would be labelled.

    Example:
        >>> label = np.array([[0, 0, 0], [0, 1, 0], [0, 1, 1]])
        >>> Box()(label)
        array([[-100, -100, -100],
               [-100,    1,    1],
               [-100,    1,    1]], dtype=int16)
        >>> Box(inside="unknown", background=True)(label)
        array([[   0,    0,    0],
               [   0, -100, -100],
               [   0, -100, -100]], dtype=int16)
    """

    parts: Parts = "object"
    inside: Inside = "class"
    margin: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("inside", self.inside, get_args(Inside))
        check_whole("margin", self.margin, least=0)
        if self.inside == "unknown" and not self.background:
            raise ConfigError("weak label: inside: unknown labels what is outside; set background: true")

    def __call__(
        self,
        label: npt.NDArray[np.integer[Any]],
        *,
        seed: int = 0,  # noqa: ARG002 - no chance
        case_id: str = "",  # noqa: ARG002
    ) -> Map:
        """The boxes, large ones first; see the class."""
        outside = 0 if self.background else IGNORE_INDEX
        weak = np.full(label.shape, outside, dtype=np.int16)
        found = [
            (_grown(region, self.margin), value)
            for value in self.classes(label)
            if value > 0
            for region, _ in self.regions(label == value)
        ]
        for region, value in sorted(found, key=lambda box: -weak[box[0]].size):
            weak[region] = value if self.inside == "class" else IGNORE_INDEX
        weak[label == IGNORE_INDEX] = IGNORE_INDEX
        return weak

    def mark(self, mask: Mask, generator: np.random.Generator) -> Mask:  # noqa: ARG002
        """All of it."""
        return np.ones_like(mask)


def _grown(region: Index, margin: int) -> Index:
    """The region with each of its sides further out; a slice of a volume stays one."""
    return tuple(
        slice(max(0, side.start - margin), side.stop + margin) if isinstance(side, slice) else side
        for side in region
    )
