"""Depth inside a mask, and pixels made wider: what the weak labels are drawn with, in 2D and 3D."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from meddistill.data.weak.base import Mask


def depth(mask: Mask, *, chessboard: bool = False) -> npt.NDArray[np.float64]:
    """Distance of each pixel to the nearest one outside the mask, whose surroundings are outside; 0 there.

    Args:
        mask: (*S).
        chessboard: count king's moves instead of the straight line.

    Example:
        >>> depth(np.ones((3, 3), dtype=bool)).max()
        np.float64(2.0)
    """
    from scipy.ndimage import distance_transform_cdt, distance_transform_edt

    padded = np.pad(mask, 1)
    distance = distance_transform_cdt(padded, "chessboard") if chessboard else distance_transform_edt(padded)
    inside: npt.NDArray[np.float64] = distance[(slice(1, -1),) * mask.ndim].astype(np.float64)
    return inside


def ball(width: int, dims: int) -> Mask:
    """A disc (ball) exactly `width` pixels across.

    Example:
        >>> ball(4, 2).astype(int)
        array([[0, 1, 1, 0],
               [1, 1, 1, 1],
               [1, 1, 1, 1],
               [0, 1, 1, 0]])
    """
    offsets = np.indices((width,) * dims) - (width - 1) / 2
    inside: Mask = (offsets**2).sum(0) <= (width / 2) ** 2
    return inside


def widened(pixels: Mask, width: int) -> Mask:
    """A ball round every pixel; one of even width reaches a pixel further towards the origin.

    Example:
        >>> widened(np.eye(5, dtype=bool) & (np.arange(5) == 2), 3).sum()
        np.int64(9)
    """
    from scipy.ndimage import binary_dilation

    wide: Mask = binary_dilation(pixels, ball(width, pixels.ndim))
    return wide


def only(pixels: npt.NDArray[np.intp], shape: tuple[int, ...]) -> Mask:
    """A mask of the pixels (n, dims).

    Example:
        >>> only(np.array([[0, 1]]), (1, 3))
        array([[False,  True, False]])
    """
    mask = np.zeros(shape, dtype=np.bool_)
    mask[tuple(pixels.T)] = True
    return mask
