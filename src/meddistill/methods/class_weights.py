"""Losses that make up for rare classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from meddistill.errors import ConfigError
from meddistill.losses import IGNORE_INDEX, binary_cross_entropy, cross_entropy, partial_cross_entropy
from meddistill.losses.checks import several_labels

ClassWeights = Literal["balanced"] | Sequence[float] | None
"""One number for each class, "balanced" for such that all classes weigh the same, or None for equal ones."""


def label_loss_of(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over what is labelled; 0 with a gradient of 0 where nothing is.

    Labels of the shape of the logits do not exclude each other: then it is the binary cross-entropy of each.

    Args:
        logits: (B, K, *S), or (B, K) for whole images.
        labels: (B, *S) integers, or 0 and 1 in the shape of the logits; `IGNORE_INDEX` does not count.
        weights: (K,): classes weigh so much, and the mean is over the weights; of labels that do not exclude
            each other those that hold do, and the mean is over the labels.

    Raises:
        ValueError: the shapes disagree.

    Example:
        >>> logits, labels = torch.zeros(2, 2), torch.tensor([0, 1])
        >>> label_loss_of(logits, labels), label_loss_of(logits, torch.tensor([[1, 0], [0, -100]]))
        (tensor(0.6931), tensor(0.6931))
    """
    if several_labels(logits, labels):
        return _of_labels(logits, labels, weights)
    if weights is None:
        return partial_cross_entropy(logits, labels)
    values = cross_entropy(logits, labels)
    known = labels != IGNORE_INDEX
    weight = weights.to(values)[labels.masked_fill(~known, 0)] * known
    return (weight * values).sum() / weight.sum().clamp(min=torch.finfo(values.dtype).tiny)


def balanced_weights(labels: Iterable[Tensor], num_classes: int) -> list[float]:
    """Weights with which all classes of a data set count the same.

    Of classes n / (K n_k), with n labelled pixels (or images), n_k of them of class k; of labels that do not
    exclude each other the number of images without the label over that of images with it.

    Args:
        labels: batches (B, *S), or (B, L) with 0 and 1.
        num_classes: K, or L.

    Raises:
        ConfigError: a class does not occur, or a label holds everywhere or nowhere.

    Example:
        >>> balanced_weights([torch.tensor([0, 0, 0, 1])], 2)
        [0.6666..., 2.0]
        >>> balanced_weights([torch.tensor([[1, 0], [0, 0], [0, 1]])], 2)
        [2.0, 2.0]
    """
    held, absent = torch.zeros(2, num_classes, dtype=torch.float64)
    several = False
    for batch in labels:
        several = batch.ndim == 2
        if several:
            held += (batch == 1).sum(0)
            absent += (batch == 0).sum(0)
        else:
            held += torch.bincount(batch[batch != IGNORE_INDEX].flatten(), minlength=num_classes)
    least = torch.minimum(held, absent) if several else held
    if not bool((least > 0).all()):
        number = int((least > 0).int().argmin())
        raise ConfigError(
            f"class_weights: balanced needs training cases with and without class {number}, and there are "
            "none; give one number for each class"
        )
    weights = absent / held if several else held.sum() / (num_classes * held)
    return [float(weight) for weight in weights]


def check_class_weights(weights: ClassWeights) -> None:
    """Refuse weights that are neither "balanced" nor positive numbers.

    Raises:
        ConfigError: they are not.

    Example:
        >>> check_class_weights("equal")
        Traceback (most recent call last):
        meddistill.errors.ConfigError: class_weights must be 'balanced', or one positive number for each...
    """
    given = [] if weights is None or weights == "balanced" else weights
    numbers = not isinstance(given, str) and all(_positive(weight) for weight in given)
    if not numbers or (not isinstance(given, str) and len(given) == 1):
        raise ConfigError(
            f"class_weights must be 'balanced', or one positive number for each class, got {weights!r}"
        )


def _positive(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < float("inf")  # type: ignore[operator]


def _of_labels(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    values = binary_cross_entropy(logits, labels)
    if weights is not None:
        weight = weights.to(values).view(1, -1, *(1,) * (logits.ndim - 2))
        values = torch.where(labels == 1, weight, 1.0) * values
    return values.sum() / (labels != IGNORE_INDEX).sum().clamp(min=1)
