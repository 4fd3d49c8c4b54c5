"""Weak labels: few labelled pixels from full label maps, from files, or none at all."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from meddistill.data.weak.base import DrawnLabel, WeakLabel
from meddistill.data.weak.boxes import Box
from meddistill.data.weak.discs import CentralDisc, Disc
from meddistill.data.weak.eroded import Eroded
from meddistill.data.weak.given import NoWeakLabel, WeakFile, WeakSource
from meddistill.data.weak.points import ExtremePoints, RandomPixels
from meddistill.data.weak.scribble import Scribble
from meddistill.registry import build

WEAK_LABELS: Mapping[str, type[WeakLabel]] = MappingProxyType(
    {
        "eroded": Eroded,
        "disc": Disc,
        "central_disc": CentralDisc,
        "box": Box,
        "scribble": Scribble,
        "extreme_points": ExtremePoints,
        "random_pixels": RandomPixels,
        "file": WeakFile,
        "none": NoWeakLabel,
    }
)
"""The kinds of weak label that a recipe can name."""


def create_weak_label(kind: str, **options: Any) -> WeakLabel:
    """Build the weak label that a recipe names.

    Args:
        kind: one of `WEAK_LABELS`.
        options: keyword arguments of its class.

    Raises:
        ConfigError: the kind or an option is unknown, or a value is out of range.

    Example:
        >>> import numpy as np
        >>> full = np.array([[0, 1, 1, 1, 0]])
        >>> create_weak_label("central_disc", width=1)(full).tolist()
        [[-100, -100, 1, -100, -100]]
        >>> create_weak_label("scribbel")
        Traceback (most recent call last):
        ...
        meddistill.errors.ConfigError: unknown weak label 'scribbel'; did you mean 'scribble'?
    """
    made: WeakLabel = build("weak label", kind, WEAK_LABELS, options)
    return made


__all__ = [
    "WEAK_LABELS",
    "Box",
    "CentralDisc",
    "Disc",
    "DrawnLabel",
    "Eroded",
    "ExtremePoints",
    "NoWeakLabel",
    "RandomPixels",
    "Scribble",
    "WeakFile",
    "WeakLabel",
    "WeakSource",
    "create_weak_label",
]
