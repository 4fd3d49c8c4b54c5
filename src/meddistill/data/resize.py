"""Bringing images and label maps to one size, in 2D and 3D, pixel centres aligned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError

Interpolation = Literal["nearest", "bilinear", "area"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear", "area")
"""`nearest` keeps grey values, `bilinear` (trilinear in 3D) is smooth, `area` averages when shrinking."""


def checked_size(size: int | Sequence[int], dims: int) -> tuple[int, ...]:
    """`size` as one positive number per axis; a single number stands for all axes.

    Raises:
        ConfigError: the numbers do not fit `dims` or are not positive.

    Example:
        >>> checked_size(64, 3), checked_size([48, 64], 2)
        ((64, 64, 64), (48, 64))
    """
    numbers = (size,) * dims if isinstance(size, int) else tuple(size)
    if len(numbers) != dims or any(number < 1 for number in numbers):
        raise ConfigError(f"size must be one positive number or {dims} of them, not {size!r}")
    return numbers


def resize_image(image: Tensor, size: tuple[int, ...], interpolation: Interpolation = "bilinear") -> Tensor:
    """`image` (C, *S) at `size`, same dtype; uint8 values are rounded.

    Args:
        image: uint8 or floating point, two or three spatial axes.
        size: the wanted S.
        interpolation: one of `INTERPOLATIONS`.

    Example:
        >>> resize_image(torch.tensor([[[0, 100], [100, 200]]], dtype=torch.uint8), (1, 1), "area")
        tensor([[[100]]], dtype=torch.uint8)
    """
    if tuple(image.shape[1:]) == size:
        return image
    if interpolation == "nearest":
        return resize_label(image, size)
    mode = "trilinear" if interpolation == "bilinear" and len(size) == 3 else interpolation
    resized = F.interpolate(image[None].float(), size=size, mode=mode)[0]
    return resized.round().to(image.dtype) if image.dtype == torch.uint8 else resized.to(image.dtype)


def resize_label(label: Tensor, size: tuple[int, ...]) -> Tensor:
    """The nearest value for each pixel of `size`, along the last `len(size)` axes; any dtype.

    Each new pixel takes the value under its own centre, as `nearest-exact` does in PyTorch.

    Example:
        >>> resize_label(torch.tensor([[0, 1], [2, -100]], dtype=torch.int16), (2, 4))
        tensor([[   0,    0,    1,    1],
                [   2,    2, -100, -100]], dtype=torch.int16)
    """
    for axis, length in zip(range(-len(size), 0), size, strict=True):
        if label.shape[axis] != length:
            centres = torch.arange(length, dtype=torch.float64) + 0.5
            label = label.index_select(axis, (centres * (label.shape[axis] / length)).long())
    return label


def resize_weak(label: Tensor, size: tuple[int, ...]) -> Tensor:
    """`label` (*S) at `size` with no label lost: thin strokes and lone pixels survive.

    A pixel of the new size takes the class that most labelled pixels whose centres it covers have (of several
    equally frequent ones the last), and stays `IGNORE_INDEX` where it covers none. Axes that do not shrink
    are resized as in `resize_label`.

    Example:
        >>> label = torch.tensor([[-100, 1, -100, 2], [-100, -100, 2, -100]])
        >>> resize_weak(label, (1, 2)), resize_weak(label[:, :2], (2, 4))
        (tensor([[1, 2]]), tensor([[-100, -100,    1,    1],
            [-100, -100, -100, -100]]))
    """
    wider = tuple(max(old, new) for old, new in zip(label.shape, size, strict=True))
    label = resize_label(label, wider)
    if tuple(label.shape) == size:
        return label
    values = label.numpy()
    labelled = np.nonzero(values != IGNORE_INDEX)
    places = [
        ((along + 0.5) * (new / old)).astype(np.int64)
        for along, old, new in zip(labelled, values.shape, size, strict=True)
    ]
    cells = np.ravel_multi_index(places, size)
    pairs, counts = np.unique(np.stack([cells, values[labelled]], 1), axis=0, return_counts=True)
    order = np.lexsort((pairs[:, 1], counts, pairs[:, 0]))
    shrunk = np.full(size, IGNORE_INDEX, dtype=values.dtype)
    shrunk.flat[pairs[order, 0]] = pairs[order, 1]  # of several for one cell the last is kept
    return torch.from_numpy(shrunk)
