"""How sure an annotation is of its own class: what paced distillation takes from smoothed labels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from meddistill.losses.svls import (
    Centre,
    Kernel,
    check_maps,
    class_weights,
    crop,
    known_labels,
    replicate,
)


def label_certainty(
    labels: Tensor,
    num_classes: int,
    *,
    kernel_size: int = 3,
    sigma: float = 1.0,
    centre: Centre = "middle",
) -> Tensor:
    """The largest class share of the smoothed labels: `label_smoothing_map(labels, ...).amax(1)`, for less.

    As the centre of the kernel weighs at least as much as all its neighbours together, the largest share is
    that of the pixel's own class: the weight of the kernel on labels like its own, divided by the weight on
    all labels.

    Args:
        labels: (B, H, W) or (B, D, H, W) integers; others than 0..K-1 are ignored.
        num_classes: K.
        kernel_size: odd, at least 3.
        sigma: width of the Gaussian in pixels.
        centre: as in `label_smoothing_map`.

    Returns:
        (B, *S) float32 in 0.5..1; 0 at ignored pixels.

    Raises:
        ConfigError: the kernel size is even or below 3, sigma not above 0, or the centre unknown.
        ValueError: the labels are not 2D or 3D maps.

    Example:
        >>> label_certainty(torch.tensor([[[0, 0, 1, 1]]]), 2)
        tensor([[[1.0000, 0.8278, 0.8278, 1.0000]]])
    """
    check_maps(labels)
    kernel = Kernel(labels.ndim - 1, kernel_size, sigma, centre)
    if num_classes > 2 and kernel_size == 3:
        return _by_counting(labels, num_classes, kernel)
    weights, total = class_weights(labels, num_classes, kernel)
    return weights.amax(1).div_(total)


def _by_counting(labels: Tensor, num_classes: int, kernel: Kernel) -> Tensor:
    """The share of the own class among the neighbours that a kernel of 3 has, however many classes."""
    label, known = known_labels(labels, num_classes)
    codes = replicate(((label + 1) * known).unsqueeze(1), kernel).squeeze(1)  # 0 for no label
    codes = codes.to(torch.uint8 if num_classes < 256 else torch.int32)
    same = _weigh(_same_neighbours(codes), kernel)
    labelled = _weigh(_labelled_neighbours(codes), kernel)
    return crop(same.div_(labelled).view(codes.shape), kernel) * known


def _weigh(counts: Sequence[Tensor], kernel: Kernel) -> Tensor:
    """The weights of a pixel and of its counted neighbours, by the number of axes they are off by."""
    total = counts[0].float().mul_(kernel.weight(1)).add_(kernel.middle)
    for axes, count in enumerate(counts[1:], 2):
        total.add_(count.float(), alpha=kernel.weight(axes))
    return total


def _same_neighbours(padded: Tensor) -> list[Tensor]:
    """Number of neighbours with the pixel's own code, by the number of axes they are off by.

    In a padded map laid out in a row, a neighbour is a fixed step away; each pair is compared once.
    """
    row, steps = padded.flatten(), padded.stride()[1:]
    counts = [torch.zeros_like(row) for _ in steps]
    for offset in itertools.product((-1, 0, 1), repeat=len(steps)):
        step = sum(along * stride for along, stride in zip(offset, steps, strict=True))
        if step > 0:
            same = (row[step:] == row[:-step]).view(torch.uint8)
            count = counts[sum(map(abs, offset)) - 1]
            count[step:].add_(same)
            count[:-step].add_(same)
    return counts


def _labelled_neighbours(padded: Tensor) -> list[Tensor]:
    """Number of neighbours with a label, by the number of axes they are off by."""
    terms = [padded.flatten().clamp(max=1)]
    for step in padded.stride()[1:]:
        sides = [F.pad(term[2 * step :] + term[: -2 * step], (step, step)) for term in terms]
        terms = [terms[0], *map(torch.add, terms[1:], sides), sides[-1]]
    return terms[1:]
