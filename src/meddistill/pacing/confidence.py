"""How sure a teacher is at each pixel, and how sure the annotation is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from meddistill.losses import two_classes
from meddistill.losses.certainty import label_certainty
from meddistill.losses.checks import IGNORE_INDEX, LN2, check_labels, check_positive, wide
from meddistill.losses.masks import keep, targets
from meddistill.losses.svls import Centre


def true_class_confidence(
    logits: Tensor, labels: Tensor, *, temperature: float = 1.0, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Probability p_i = softmax(logits / T)_y that the teacher gives to the annotated class; 0 where ignored.

    Args:
        logits: (B, C, *S), or (B, C) for classification.
        labels: (B, *S) integers 0..C-1 or `ignore_index`.
        temperature: T > 0, usually fitted so that the teacher is calibrated.
        ignore_index: label of pixels that do not count.

    Returns:
        (B, *S) in 0..1.

    Raises:
        ConfigError: the temperature is not above 0.
        ValueError: the shapes disagree.

    Example:
        >>> true_class_confidence(torch.tensor([[0.0, 1.0986123]]), torch.tensor([1]))
        tensor([0.7500])
    """
    check_positive("temperature", temperature)
    check_labels(logits, labels)
    logits = wide(logits)
    if logits.shape[1] == 2:
        return two_classes.confidence(logits, labels, temperature=temperature, ignore_index=ignore_index)
    target, known = targets(labels, logits.shape[1], logits.dtype, ignore_index=ignore_index)
    own = logits.gather(1, target.long().unsqueeze(1))
    return keep(_share(own, logits, temperature), known)


def max_confidence(logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Probability of the most likely class, whatever the annotation says.

    Args:
        logits: (B, C, *S), or (B, C) for classification.
        temperature: T > 0.

    Returns:
        (B, *S) in 1/C..1.

    Raises:
        ConfigError: the temperature is not above 0.

    Example:
        >>> max_confidence(torch.tensor([[0.0, 1.0986123]]))
        tensor([0.7500])
    """
    check_positive("temperature", temperature)
    logits = wide(logits)
    if logits.shape[1] == 2:
        return two_classes.margin(logits).abs_().mul_(1 / temperature).sigmoid_()
    return _share(logits.amax(1, keepdim=True), logits, temperature)


def _share(one: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """Softmax of one logit (B, 1, *S) among all (B, C, *S): 1 / sum_c 2^((z_c - z) / (T ln 2))."""
    return (logits.contiguous() - one).mul_(1 / (temperature * LN2)).exp2_().sum(1).reciprocal_()


class Score(Protocol):
    """Anything that rates pixels: teacher logits (B, C, *S), labels (B, *S) -> (B, *S) in 0..1, 1 is easy.

    A score that never falls below some number at labelled pixels can tell by an attribute `least`.
    """

    def __call__(self, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """Rate each pixel."""
        ...


@dataclass(frozen=True)
class TrueClass:
    """Score by `true_class_confidence`.

    Example:
        >>> TrueClass(2.51)(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4)).unique()
        tensor([0.5000])
    """

    temperature: float = 1.0

    def __call__(self, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """Confidence (B, *S) in the annotated class."""
        return true_class_confidence(teacher_logits, labels, temperature=self.temperature)


@dataclass(frozen=True)
class MostLikelyClass:
    """Score by `max_confidence`; blind to the labels.

    Example:
        >>> MostLikelyClass()(torch.zeros(1, 4), torch.tensor([2]))
        tensor([0.2500])
    """

    temperature: float = 1.0

    def __call__(self, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """Confidence (B, *S) in the predicted class."""
        check_labels(teacher_logits, labels)
        return max_confidence(teacher_logits, temperature=self.temperature)


@dataclass(frozen=True)
class Boundary:
    """Score by the largest class share of `label_smoothing_map`: 1 in a region, down to 0.5 at its edge.

    Example:
        >>> Boundary()(torch.zeros(1, 2, 1, 4), torch.tensor([[[0, 0, 1, 1]]]))
        tensor([[[1.0000, 0.8278, 0.8278, 1.0000]]])
    """

    kernel_size: int = 3
    sigma: float = 1.0
    centre: Centre = "middle"
    least: ClassVar[float] = 0.5

    def __call__(self, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """Certainty (B, *S) of the annotation; 0 at ignored pixels."""
        check_labels(teacher_logits, labels)
        return label_certainty(
            labels,
            teacher_logits.shape[1],
            kernel_size=self.kernel_size,
            sigma=self.sigma,
            centre=self.centre,
        )


@dataclass(frozen=True)
class Stretched:
    """The upper half 0.5..1 of a score drawn out to 0..1, so that a threshold below 0.5 still divides it.

    Example:
        >>> Stretched(Boundary())(torch.zeros(1, 2, 1, 4), torch.tensor([[[0, 0, 1, 1]]]))
        tensor([[[1.0000, 0.6556, 0.6556, 1.0000]]])
    """

    score: Score

    def __call__(self, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """2 s - 1, not below 0; (B, *S)."""
        return (2 * self.score(teacher_logits, labels) - 1).clamp(min=0)


@dataclass(frozen=True)
class Lowest:
    """The least of several scores: it passes a threshold where all of them do.

    Example:
        >>> Lowest([TrueClass(), MostLikelyClass()])(torch.tensor([[0.0, 1.0986123]]), torch.tensor([0]))
        tensor([0.2500])
    """

    scores: Sequence[Score]

    def __call__(self, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """Pixel-wise minimum (B, *S)."""
        return torch.stack([score(teacher_logits, labels) for score in self.scores]).amin(0)
