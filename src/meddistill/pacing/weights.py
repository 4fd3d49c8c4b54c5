"""Per-pixel weights, small enough to compose: a score becomes a mask, masks become a product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from meddistill.losses.checks import IGNORE_INDEX, wide
from meddistill.losses.masks import numbers, reaches
from meddistill.pacing.confidence import Score


class Weight(Protocol):
    """(teacher logits (B, C, *S), labels (B, *S), threshold) -> weight (B, *S) of each pixel in the loss."""

    def __call__(self, teacher_logits: Tensor, labels: Tensor, threshold: float) -> Tensor:
        """Weigh each pixel."""
        ...


@dataclass(frozen=True)
class Everything:
    """Weight 1 for every pixel.

    Example:
        >>> Everything()(torch.zeros(2, 3), torch.tensor([0, 1]), 0.9)
        tensor([1., 1.])
    """

    def __call__(self, teacher_logits: Tensor, labels: Tensor, threshold: float) -> Tensor:  # noqa: ARG002
        """Ones (B, *S)."""
        return wide(teacher_logits).new_ones(labels.shape)


@dataclass(frozen=True)
class HardMask:
    """1 where the score reaches the threshold, else 0: the masks (TPL, BU) of P-CD.

    Where no pixel can fall short of the threshold, the score is not even asked.

    Example:
        >>> from meddistill.pacing import TrueClass
        >>> HardMask(TrueClass())(torch.tensor([[0.0, 1.0986123]] * 2), torch.tensor([0, 1]), 0.7)
        tensor([0., 1.])
    """

    score: Score

    def __call__(self, teacher_logits: Tensor, labels: Tensor, threshold: float) -> Tensor:
        """Mask (B, *S)."""
        if threshold <= 0:
            return Everything()(teacher_logits, labels, threshold)
        if threshold <= getattr(self.score, "least", 0.0):
            return numbers(labels != IGNORE_INDEX, wide(teacher_logits).dtype)
        return reaches(self.score(teacher_logits, labels), threshold)


@dataclass(frozen=True)
class SoftWeight:
    """1 where the score reaches the threshold, else `floor(threshold)`: the soft weights (CPL) of P-CD.

    Example:
        >>> from meddistill.pacing import TrueClass
        >>> weight = SoftWeight(TrueClass(), rising_floor)
        >>> weight(torch.tensor([[0.0, 1.0986123]] * 2), torch.tensor([0, 1]), 0.7)
        tensor([0.4000, 1.0000])
    """

    score: Score
    floor: Callable[[float], float]

    def __call__(self, teacher_logits: Tensor, labels: Tensor, threshold: float) -> Tensor:
        """Weight (B, *S)."""
        sure = reaches(self.score(teacher_logits, labels), threshold)
        return torch.threshold(sure, 0.5, self.floor(threshold))


@dataclass(frozen=True)
class Product:
    """The product of several weights at one threshold.

    Example:
        >>> from meddistill.pacing import Boundary, TrueClass
        >>> weight = Product((HardMask(TrueClass()), HardMask(Boundary())))
        >>> weight(torch.zeros(1, 2, 1, 4), torch.tensor([[[0, 0, 1, 1]]]), 0.5)
        tensor([[[1., 1., 1., 1.]]])
    """

    weights: tuple[Weight, ...]

    def __call__(self, teacher_logits: Tensor, labels: Tensor, threshold: float) -> Tensor:
        """Product (B, *S)."""
        product = self.weights[0](teacher_logits, labels, threshold)
        for weight in self.weights[1:]:
            product = product * weight(teacher_logits, labels, threshold)
        return product


@dataclass(frozen=True)
class BatchMean:
    """A weight averaged over the batch at each position, the same for every image.

    This is what the code released with P-CD computes: there a mask of shape (B, 1, H, W) meets losses of
    shape (B, H, W), which pairs every mask with every image; the mean of the B x B products is the mean of
    the averaged mask times the losses. Only labelled images count in the average. With one image nothing
    changes.

    Example:
        >>> from meddistill.pacing import TrueClass
        >>> mask = BatchMean(HardMask(TrueClass()))
        >>> mask(torch.tensor([[0.0, 1.0986123]] * 2), torch.tensor([0, 1]), 0.7)
        tensor([0.5000, 0.5000])
    """

    weight: Weight

    def __call__(self, teacher_logits: Tensor, labels: Tensor, threshold: float) -> Tensor:
        """Averaged weight (B, *S)."""
        weight = self.weight(teacher_logits, labels, threshold)
        known = numbers(labels != IGNORE_INDEX, weight.dtype)
        mean = (weight * known).sum(0, keepdim=True) / known.sum(0, keepdim=True).clamp(min=1)
        return mean.expand_as(weight)


def rising_floor(threshold: float) -> float:
    """min(1, 1 - mu + 0.1): unsure pixels gain weight while the threshold mu falls.

    Example:
        >>> rising_floor(1.0), rising_floor(0.0)
        (0.1, 1.0)
    """
    return min(1.0, 1.0 - threshold + 0.1)


def falling_floor(threshold: float) -> float:
    """max(mu - 0.1, 0): unsure pixels lose weight while mu falls, as in the code released with P-CD.

    Example:
        >>> falling_floor(1.0), falling_floor(0.0)
        (0.9, 0.0)
    """
    return max(threshold - 0.1, 0.0)
