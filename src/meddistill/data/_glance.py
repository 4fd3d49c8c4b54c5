"""What is kept of an image with one label to see whether something else than its content says its class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.data._averages import averaged
from meddistill.data.images import stored_mode

SIDE, FRAME = 24, 2
"""Cells along each side of the grid, and how many of them the border is wide: a twelfth of the side."""

_LEVELS = 16

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Glance:
    """An image at a glance.

    Args:
        grid: (24, 24) mean grey of its cells, 0..1; float32.
        histogram: (16,) share of its pixels at each grey level; float32.
        size: height and width in pixels.
        kind: how it is stored: the ending of its file, its mode, the type of its pixels.
    """

    grid: npt.NDArray[np.float32]
    histogram: npt.NDArray[np.float32]
    size: tuple[int, int]
    kind: tuple[str, str, str]

    @property
    def border(self) -> npt.NDArray[np.float32]:
        """The cells of the grid that lie in its frame, (176,); the others are hidden."""
        return self.grid[_in_frame()]


def glance(image: npt.NDArray[Any], file: Path | None = None) -> Glance:
    """Look at an image.

    Args:
        image: (C, H, W), uint8 or floating point in 0..1; channels are averaged.
        file: where it is stored, if anywhere.

    Example:
        >>> seen = glance(np.full((3, 48, 96), 51, np.uint8))
        >>> seen.size, seen.border.shape, round(float(seen.border[0]), 3), int(seen.histogram.argmax())
        ((48, 96), (176,), 0.2, 3)
    """
    grey = image.mean(axis=0, dtype=np.float64) / (255.0 if image.dtype == np.uint8 else 1.0)
    counts, _ = np.histogram(grey, _LEVELS, (0.0, 1.0))
    ending, mode = ("", "") if file is None else (file.suffix.lower(), stored_mode(file))
    return Glance(
        grid=averaged(grey, SIDE).astype(np.float32),
        histogram=(counts / grey.size).astype(np.float32),
        size=(grey.shape[0], grey.shape[1]),
        kind=(ending, mode, image.dtype.name),
    )


def file_facts(glances: list[Glance]) -> Floats:
    """Sizes, aspect ratio and ways of storing as numbers (N, F); the same for all where nothing differs.

    Example:
        >>> file_facts([glance(np.zeros((1, 8, width), np.uint8)) for width in (8, 16)]).round(2)
        array([[ 2.08,  2.08,  0.  ,  1.  ],
               [ 2.08,  2.77, -0.69,  1.  ]])
    """
    height, width = np.log([seen.size for seen in glances]).T
    kinds = sorted({seen.kind for seen in glances})
    stored = [[seen.kind == kind for kind in kinds] for seen in glances]
    return np.column_stack([height, width, height - width, np.array(stored, float)])


def _in_frame() -> npt.NDArray[np.bool_]:
    frame = np.ones((SIDE, SIDE), dtype=bool)
    frame[FRAME:-FRAME, FRAME:-FRAME] = False
    return frame
