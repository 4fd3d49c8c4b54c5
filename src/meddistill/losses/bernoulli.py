"""Divergence and cross-entropy of labels that do not exclude each other: each is there or not, by itself."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddistill.losses.checks import (
    IGNORE_INDEX,
    LIMIT,
    check_choice,
    check_fraction,
    check_positive,
    check_same_shape,
    wide,
)

LabelReduction = Literal["sum", "mean", "none"]


def bernoulli_kl(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 1.0,
    label_reduction: LabelReduction = "sum",
) -> Tensor:
    """T^2 KL(teacher || student) of each label's probability, in nats; the teacher is detached.

    For each label `k = T^2 (p log(p / q) + (1 - p) log((1 - p) / (1 - q)))` with `p = sigmoid(teacher / T)`
    and `q = sigmoid(student / T)`, computed in log-space and in float32 (float64 for double input). For one
    label this is `kl_divergence` of the logits (0, z).

    Args:
        student_logits: (B, K, *S) for K labels, or (B, K) for labels of the image.
        teacher_logits: same shape.
        temperature: T > 0.
        label_reduction: "sum" or "mean" over the labels; "none" keeps them apart.

    Returns:
        (B, *S); (B, K, *S) for "none".

    Raises:
        ConfigError: the temperature is not above 0 or the reduction is unknown.
        ValueError: the shapes differ.

    Example:
        >>> student, teacher = torch.zeros(1, 2), torch.tensor([[1.0986123, 0.0]])  # p = 3/4 and 1/2, q = 1/2
        >>> bernoulli_kl(student, teacher, label_reduction="none")  # ln 2 minus the entropy of p
        tensor([[0.1308, 0.0000]])
    """
    check_positive("temperature", temperature)
    check_choice("label_reduction", label_reduction, ("sum", "mean", "none"))
    check_same_shape(student_logits, teacher_logits)
    u = (wide(teacher_logits.detach()) / temperature).clamp(-LIMIT, LIMIT)
    v = (wide(student_logits) / temperature).clamp(-LIMIT, LIMIT)
    p = u.sigmoid()
    value = _against(v, p) - _against(u, p)
    value = value + (value.clamp(min=0) - value).detach()  # rounding below 0 changes the value alone
    by_label = temperature**2 * value
    if label_reduction == "none":
        return by_label
    return by_label.sum(1) if label_reduction == "sum" else by_label.mean(1)


def binary_cross_entropy(
    logits: Tensor, labels: Tensor, *, smoothing: float = 0.0, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Cross-entropy of each label with sigmoid(logits), in nats; 0 where the label is ignored.

    Args:
        logits: (B, K, *S) for K labels, or (B, K) for labels of the image.
        labels: same shape; 1 where a label is there, 0 where not, or `ignore_index`.
        smoothing: s, 0..1; the target of a label y is (1 - s) y + s / 2.
        ignore_index: value of labels that do not count.

    Returns:
        (B, K, *S), float32 (float64 for double logits).

    Raises:
        ConfigError: `smoothing` lies outside 0..1.
        ValueError: the shapes differ.

    Example:
        >>> binary_cross_entropy(torch.zeros(1, 3), torch.tensor([[0, 1, -100]]))
        tensor([[0.6931, 0.6931, 0.0000]])
    """
    check_fraction("smoothing", smoothing)
    if logits.ndim < 2 or logits.shape != labels.shape:
        raise ValueError(
            f"labels {tuple(labels.shape)} do not fit logits {tuple(logits.shape)}: labels that do not "
            "exclude each other are (B, K, *S) as the logits are, each 0 or 1"
        )
    known = labels != ignore_index
    scores = wide(logits)
    target = (1 - smoothing) * labels.to(scores.dtype) * known + smoothing / 2
    return torch.where(known, _against(torch.where(known, scores, 0), target), 0)


def _against(logits: Tensor, probability: Tensor) -> Tensor:
    """-p log sigmoid(z) - (1 - p) log(1 - sigmoid(z)) = softplus(z) - p z."""
    return F.softplus(logits, threshold=64.0) - probability * logits


class BernoulliKL(nn.Module):
    """`bernoulli_kl` with its arguments stored.

    Example:
        >>> BernoulliKL(temperature=10.0)(torch.zeros(2, 14), torch.zeros(2, 14)).shape
        torch.Size([2])
    """

    def __init__(self, *, temperature: float = 1.0, label_reduction: LabelReduction = "sum") -> None:
        super().__init__()
        self.temperature = temperature
        self.label_reduction: LabelReduction = label_reduction

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Divergence (B, *S) of logits (B, K, *S)."""
        return bernoulli_kl(
            student_logits,
            teacher_logits,
            temperature=self.temperature,
            label_reduction=self.label_reduction,
        )
