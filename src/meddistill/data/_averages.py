"""Images averaged down to a grid of equal cells, whatever their size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def averaged(image: Floats, side: int) -> Floats:
    """`image` (*S) as `side` cells along each axis, every cell the exact mean of what it covers.

    Example:
        >>> averaged(np.array([[0.0, 0.0, 3.0], [3.0, 3.0, 3.0]]), 2)
        array([[0., 2.],
               [3., 3.]])
    """
    for axis, length in enumerate(image.shape):
        image = along(_averaging(length, side), image, axis)
    return image


def along(matrix: Floats, array: Floats, axis: int) -> Floats:
    """`matrix` applied along one axis of `array`.

    Example:
        >>> along(np.ones((1, 2)), np.array([[1.0, 2.0], [3.0, 4.0]]), axis=1)
        array([[3.],
               [7.]])
    """
    return np.asarray(np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis))


def _averaging(length: int, side: int) -> Floats:
    """Matrix (side, length) that averages `length` samples over `side` equal intervals."""
    edges = np.linspace(0, length, side + 1)
    starts = np.arange(length)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return np.asarray(np.maximum(overlap, 0.0) * side / length)
