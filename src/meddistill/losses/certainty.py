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
    class_codes,
    crop,
    label_smoothing_map,
    replicate,
    spread,
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
    if num_classes == 2:
        return _of_two_classes(class_codes(labels, num_classes), kernel)
    if kernel_size == 3:
        return _by_counting(class_codes(labels, num_classes), kernel)
    soft = label_smoothing_map(labels, num_classes, kernel_size=kernel_size, sigma=sigma, centre=centre)
    return soft.amax(1)


def _of_two_classes(codes: Tensor, kernel: Kernel) -> Tensor:
    """By how much the pixel's own class leads around it, from two maps whatever the kernel."""
    known = codes.clamp(max=1)
    side = (2 * codes - 3 * known).view(torch.int8)  # 1 for class 1, -1 for class 0, 0 for none
    lead, total = spread(torch.stack((side, known.view(torch.int8))), kernel).unbind()
    lead.div_(total.clamp_(min=kernel.middle)).mul_(side.float())
    return lead.add_(known.float()).mul_(0.5)


def _by_counting(codes: Tensor, kernel: Kernel) -> Tensor:
    """The share of the own class among the neighbours that a kernel of 3 has, however many classes."""
    padded = replicate(codes, 1)
    same = _weigh(_same_neighbours(padded), kernel)
    known = _weigh(_labelled_neighbours(padded), kernel)
    share = crop(same.div_(known).view(padded.shape), 1)
    return share * codes.clamp(max=1)


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
