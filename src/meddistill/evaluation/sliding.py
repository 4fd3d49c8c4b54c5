"""A window that slides over a volume in layers: planes are handed on once no window can change them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from meddistill.errors import ConfigError

Windows = Callable[[Tensor], Tensor]
"""Maps windows (B, C, *patch) to logits (B, K, *patch)."""


def sliding_slabs(
    answer: Windows,
    image: Tensor,
    *,
    patch: Sequence[int],
    overlap: float = 0.5,
    batch_size: int = 1,
    planes: int = 1,
) -> Iterator[tuple[slice, Tensor]]:
    """Weighted means of the logits of all windows, some finished planes of the volume at a time.

    Args:
        answer: the network; its device is where means are taken.
        image: (C, Z, Y, X); where it is smaller than the patch it is continued with its smallest value.
        patch: size of a window.
        overlap: share of a window that its neighbour covers too, 0 up to but not including 1.
        batch_size: windows at a time.
        planes: at most so many planes at once.

    Yields:
        Planes of the volume, and their logits (K, planes, Y, X), valid until the next ones are asked for.

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> found = sliding_slabs(lambda windows: windows, torch.ones(1, 3, 4, 4), patch=(2, 2, 2), planes=9)
        >>> [(planes, logits.unique().item()) for planes, logits in found]
        [(slice(0, 1, None), 1.0), (slice(1, 3, None), 1.0)]
    """
    if len(patch) != 3 or min(patch) < 1 or not 0 <= overlap < 1 or batch_size < 1:
        raise ConfigError(
            "sliding over a volume needs a patch of three sizes, an overlap from 0 to below 1 and a positive "
            f"batch size, not {tuple(patch)}, {overlap} and {batch_size}"
        )
    padded, before = pad_to(image, patch)
    kept = [slice(first, first + length) for first, length in zip(before, image.shape[1:], strict=True)]
    for start, logits in _finished(answer, padded, tuple(patch), overlap, batch_size):
        inner = logits[:, :, kept[1], kept[2]]
        low, high = max(start, kept[0].start), min(start + inner.shape[1], kept[0].stop)
        for first in range(low, high, planes):
            last = min(first + planes, high)
            part = inner[:, first - start : last - start]
            yield slice(first - kept[0].start, last - kept[0].start), part


def pad_to(image: Tensor, patch: Sequence[int]) -> tuple[Tensor, tuple[int, ...]]:
    """`image` (C, *S), continued with its smallest value to at least `patch`, and how much before.

    Example:
        >>> padded, before = pad_to(torch.ones(1, 1, 2, 2), (4, 2, 2))
        >>> padded.shape, before
        (torch.Size([1, 4, 2, 2]), (1, 0, 0))
    """
    missing = [max(0, side - length) for side, length in zip(patch, image.shape[1:], strict=True)]
    before = tuple(more // 2 for more in missing)
    if not any(missing):
        return image, before
    sides = [(first, more - first) for first, more in zip(before, missing, strict=True)]
    flat = [number for pair in reversed(sides) for number in pair]
    return F.pad(image, flat, value=float(image.min())), before


def window_starts(length: int, side: int, overlap: float) -> list[int]:
    """Where windows of `side` begin along an axis; the last one ends with the axis.

    Example:
        >>> window_starts(10, 4, 0.5), window_starts(4, 4, 0.5)
        ([0, 2, 4, 6], [0])
        >>> window_starts(9, 4, 0.25)
        [0, 3, 5]
    """
    step = max(1, int(side * (1 - overlap)))
    return [*range(0, length - side, step), length - side]


def _finished(
    answer: Windows, image: Tensor, patch: tuple[int, ...], overlap: float, batch_size: int
) -> Iterator[tuple[int, Tensor]]:
    """Runs of finished planes: the first one's number and their logits (K, planes, Y, X)."""
    from monai.data.utils import compute_importance_map

    weight = compute_importance_map(patch, mode="gaussian")
    depths, *sides = (
        window_starts(length, side, overlap) for length, side in zip(image.shape[1:], patch, strict=True)
    )
    corners = list(itertools.product(*sides))
    total = weights = None
    for start, following in itertools.pairwise([*depths, image.shape[1]]):
        layer = image[:, start : start + patch[0]]
        for first in range(0, len(corners), batch_size):
            chunk = corners[first : first + batch_size]
            windows = [layer[:, :, y : y + patch[1], x : x + patch[2]] for y, x in chunk]
            logits = answer(torch.stack(windows))
            if total is None or weights is None:
                weight = weight.to(logits.device)
                total = logits.new_zeros((logits.shape[1], patch[0], *image.shape[2:]))
                weights = logits.new_zeros((patch[0], *image.shape[2:]))
            for (y, x), found in zip(chunk, logits, strict=True):
                place = (..., slice(y, y + patch[1]), slice(x, x + patch[2]))
                total[place] += found * weight
                weights[place] += weight
        assert total is not None
        assert weights is not None
        done = following - start
        yield start, total[:, :done].div_(weights[:done])
        _move_up(total, done)
        _move_up(weights[None], done)


def _move_up(values: Tensor, planes: int) -> None:
    """Drop the first planes of `values` (K, Z, Y, X) in place; zeros come in at the end."""
    rest = values.shape[1] - planes
    for plane in range(rest):
        values[:, plane] = values[:, plane + planes]
    values[:, max(0, rest) :] = 0
