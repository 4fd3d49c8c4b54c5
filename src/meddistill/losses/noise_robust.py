"""Cross-entropies that forgive wrong labels: with smoothed targets, and symmetric."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from meddistill.errors import ConfigError
from meddistill.losses.bernoulli import binary_cross_entropy
from meddistill.losses.checks import IGNORE_INDEX, check_fraction, check_labels, several_labels, wide
from meddistill.losses.cross_entropy import cross_entropy


def label_smoothing_cross_entropy(
    logits: Tensor, labels: Tensor, *, smoothing: float = 0.1, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Per-pixel cross-entropy with the target (1 - s) one-hot(y) + s / K; 0 at ignored pixels.

    Szegedy et al. 2016, "Rethinking the Inception architecture", section 7. With s = 0 this is
    `cross_entropy`. A label that excludes no other has two states: `binary_cross_entropy` with smoothing.

    Args:
        logits: (B, K, *S), or (B, K) for classification.
        labels: (B, *S) integers 0..K-1 or `ignore_index`; (B, K, *S) with 0 and 1 for labels that do not
            exclude each other.
        smoothing: s, 0..1.
        ignore_index: label of pixels that do not count.

    Returns:
        The shape of the labels, float32 (float64 for double logits).

    Raises:
        ConfigError: `smoothing` lies outside 0..1.
        ValueError: the shapes disagree.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 1.0986123]])  # probabilities 1/4 and 3/4
        >>> label_smoothing_cross_entropy(logits, torch.tensor([1]), smoothing=0.5)  # (3 ln 4/3 + ln 4) / 4
        tensor([0.5623])
    """
    if several_labels(logits, labels):
        return binary_cross_entropy(logits, labels, smoothing=smoothing, ignore_index=ignore_index)
    check_fraction("smoothing", smoothing)
    check_labels(logits, labels)
    return F.cross_entropy(
        wide(logits),
        labels.long(),
        ignore_index=ignore_index,
        reduction="none",
        label_smoothing=smoothing,
    )


def symmetric_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    alpha: float = 0.1,
    beta: float = 1.0,
    log_zero: float = -4.0,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Per-pixel alpha CE + beta RCE, where the reverse cross-entropy RCE swaps label and prediction.

    Wang et al. 2019, "Symmetric cross entropy for robust learning with noisy labels" (ICCV).
    RCE = -sum_c q_c log y_c with q = softmax(logits) and log 0 set to A: RCE = -A (1 - q_y), at most -A, so
    that one wrong label cannot pull without bound. A label that excludes no other has two states, with the
    probabilities sigmoid(logits) and 1 - sigmoid(logits).

    Args:
        logits: (B, K, *S), or (B, K) for classification.
        labels: (B, *S) integers 0..K-1 or `ignore_index`; (B, K, *S) with 0 and 1 for labels that do not
            exclude each other.
        alpha: weight of the cross-entropy, 0 or more.
        beta: weight of the reverse cross-entropy, 0 or more.
        log_zero: A, below 0.
        ignore_index: label of pixels that do not count.

    Returns:
        The shape of the labels, float32 (float64 for double logits); 0 at ignored pixels.

    Raises:
        ConfigError: a weight is below 0, or `log_zero` is not below 0.
        ValueError: the shapes disagree.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 1.0986123]])  # probabilities 1/4 and 3/4
        >>> symmetric_cross_entropy(logits, torch.tensor([0]), alpha=0.5)  # 0.5 ln 4 + 4 * 3/4
        tensor([3.6931])
    """
    check_symmetric(alpha, beta, log_zero)
    of_labels = several_labels(logits, labels)
    forward = (binary_cross_entropy if of_labels else cross_entropy)(
        logits, labels, ignore_index=ignore_index
    )
    known = labels != ignore_index
    target = labels.long().masked_fill(~known, 0)
    own = (_of_state if of_labels else _of_class)(wide(logits), target)
    reverse = (-log_zero * (1 - own)).masked_fill(~known, 0)
    return alpha * forward + beta * reverse


def _of_class(logits: Tensor, target: Tensor) -> Tensor:
    """The probability of the class that the label names."""
    return logits.softmax(1).gather(1, target.unsqueeze(1)).squeeze(1)


def _of_state(logits: Tensor, target: Tensor) -> Tensor:
    """The probability of the state, 0 or 1, that each label names."""
    return ((2 * target - 1) * logits).sigmoid()


def check_symmetric(alpha: float, beta: float, log_zero: float) -> None:
    """Refuse options of `symmetric_cross_entropy` that are out of range.

    Raises:
        ConfigError: a weight is below 0, or `log_zero` is not below 0.

    Example:
        >>> check_symmetric(0.1, 1.0, 4.0)
        Traceback (most recent call last):
        meddistill.errors.ConfigError: log_zero must be a number below 0, got 4.0
    """
    for name, value in (("alpha", alpha), ("beta", beta), ("log_zero", log_zero)):
        number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
        if not number or (value >= 0 if name == "log_zero" else value < 0):
            wanted = "below 0" if name == "log_zero" else "of 0 or more"
            raise ConfigError(f"{name} must be a number {wanted}, got {value!r}")


class LabelSmoothingCrossEntropy(nn.Module):
    """`label_smoothing_cross_entropy` with its arguments stored.

    Example:
        >>> import torch
        >>> LabelSmoothingCrossEntropy()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4)).shape
        torch.Size([1, 4, 4])
    """

    def __init__(self, *, smoothing: float = 0.1, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.smoothing = check_fraction("smoothing", smoothing)
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of each pixel, or label."""
        return label_smoothing_cross_entropy(
            logits, labels, smoothing=self.smoothing, ignore_index=self.ignore_index
        )


class SymmetricCrossEntropy(nn.Module):
    """`symmetric_cross_entropy` with its arguments stored.

    Example:
        >>> import torch
        >>> SymmetricCrossEntropy()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4)).shape
        torch.Size([1, 4, 4])
    """

    def __init__(
        self,
        *,
        alpha: float = 0.1,
        beta: float = 1.0,
        log_zero: float = -4.0,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        check_symmetric(alpha, beta, log_zero)
        self.alpha, self.beta, self.log_zero = alpha, beta, log_zero
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of each pixel, or label."""
        return symmetric_cross_entropy(
            logits,
            labels,
            alpha=self.alpha,
            beta=self.beta,
            log_zero=self.log_zero,
            ignore_index=self.ignore_index,
        )
