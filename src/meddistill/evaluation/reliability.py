"""Reliability bins and the expected calibration error, batch by batch.

Source: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), equations 2, 3 and 5. The bins are
those of a whole data set: every labelled pixel counts once, whatever the batch it came in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, DataError


class ReliabilityBins:
    """Counts, hits and confidences of predictions, in equal bins (low, high] of the confidence.

    Memory does not grow with the data: three numbers are kept per bin, on the CPU, in double precision.

    Args:
        num_bins: number of equal bins on 0..1.

    Raises:
        ConfigError: `num_bins` is not a whole number above 0.

    Example:
        >>> bins = ReliabilityBins(num_bins=2)
        >>> bins.update(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
        >>> bins.counts.tolist(), bins.accuracy.tolist()
        ([0, 2], [0.0, 0.5])
        >>> round(bins.ece(), 4)
        0.35
    """

    def __init__(self, num_bins: int = 10) -> None:
        check_num_bins(num_bins)
        self.num_bins = num_bins
        self.counts = torch.zeros(num_bins, dtype=torch.int64)
        """(num_bins,) predictions per bin."""
        self.accuracy_sum = torch.zeros(num_bins, dtype=torch.float64)
        """(num_bins,) right predictions per bin."""
        self.confidence_sum = torch.zeros(num_bins, dtype=torch.float64)
        """(num_bins,) sum of the confidences per bin."""

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Count a batch; the confidence is the largest probability, the prediction its class.

        Args:
            probabilities: (B, K, *S), each pixel's values in 0..1.
            labels: (B, *S) integers; pixels of `IGNORE_INDEX` do not count.

        Raises:
            DataError: the shapes disagree, or a confidence is not in 0..1.
        """
        self.update_confidence(*labelled_confidence(probabilities, labels))

    def update_confidence(self, confidence: Tensor, correct: Tensor) -> None:
        """Count predictions by their confidence (any shape, 0..1) and whether each was right (same shape).

        Raises:
            DataError: a confidence is not in 0..1.
        """
        confidence = confidence.detach().flatten().float().cpu()
        if not bool(((confidence >= 0) & (confidence <= 1 + 1e-4)).all()):
            raise DataError("a confidence is not in 0..1: give probabilities (softmax of finite logits)")
        correct = correct.detach().flatten().cpu()
        edges = torch.linspace(0, 1, self.num_bins + 1, dtype=torch.float64)[1:-1].to(confidence.dtype)
        index = torch.bucketize(confidence, edges)
        self.counts += index.bincount(minlength=self.num_bins)
        self.accuracy_sum += index.bincount(correct.double(), minlength=self.num_bins)
        self.confidence_sum += index.bincount(confidence.double(), minlength=self.num_bins)

    def merge(self, other: ReliabilityBins) -> None:
        """Count what `other` (with as many bins) has counted, too.

        Example:
            >>> bins, more = ReliabilityBins(2), ReliabilityBins(2)
            >>> more.update(torch.tensor([[0.1, 0.9]]), torch.tensor([1]))
            >>> bins.merge(more)
            >>> bins.counts.tolist()
            [0, 1]
        """
        self.counts += other.counts
        self.accuracy_sum += other.accuracy_sum
        self.confidence_sum += other.confidence_sum

    @property
    def total(self) -> int:
        """Number of predictions counted so far."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> Tensor:
        """(num_bins,) share of right predictions per bin; 0 where a bin is empty."""
        return self.accuracy_sum / self.counts.clamp_min(1)

    @property
    def confidence(self) -> Tensor:
        """(num_bins,) mean confidence per bin; 0 where a bin is empty."""
        return self.confidence_sum / self.counts.clamp_min(1)

    def ece(self) -> float:
        """Expected calibration error: the bins' gaps of accuracy and confidence, weighted by count.

        NaN when nothing was counted.
        """
        if self.total == 0:
            return float("nan")
        return float((self.accuracy_sum - self.confidence_sum).abs().sum() / self.total)

    def to_dict(self) -> dict[str, list[float]]:
        """Plain numbers for JSON: `count`, `accuracy`, `confidence`, one entry per bin.

        Example:
            >>> ReliabilityBins(num_bins=2).to_dict()
            {'count': [0, 0], 'accuracy': [0.0, 0.0], 'confidence': [0.0, 0.0]}
        """
        return {
            "count": self.counts.tolist(),
            "accuracy": self.accuracy.tolist(),
            "confidence": self.confidence.tolist(),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ReliabilityBins:
        """The bins that `to_dict` described.

        Raises:
            DataError: a list is missing or the lists differ in length.
        """
        try:
            columns = zip(value["count"], value["accuracy"], value["confidence"], strict=True)
            rows = torch.tensor([*columns], dtype=torch.float64)
            bins = cls(len(rows))
            bins.counts = rows[:, 0].long()
            bins.accuracy_sum = rows[:, 1] * rows[:, 0]
            bins.confidence_sum = rows[:, 2] * rows[:, 0]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(
                "these are not reliability bins: count, accuracy and confidence of one length each"
            ) from error
        return bins


def expected_calibration_error(probabilities: Tensor, labels: Tensor, *, num_bins: int = 10) -> float:
    """Expected calibration error of one set of predictions.

    Args:
        probabilities: (B, K, *S) or (B, K), values in 0..1; the confidence is the largest one.
        labels: (B, *S) or (B,) integers; pixels of `IGNORE_INDEX` do not count.
        num_bins: number of equal bins (low, high].

    Returns:
        The error in 0..1; NaN when no pixel is labelled. For more data than fits in memory, update a
        `ReliabilityBins` batch by batch: it gives the same number.

    Raises:
        DataError: the shapes disagree, or a confidence is not in 0..1.
        ConfigError: `num_bins` is not a whole number above 0.

    Example:
        >>> probabilities = torch.tensor([[0.25, 0.75], [0.75, 0.25]])
        >>> expected_calibration_error(probabilities, torch.tensor([1, 0]))
        0.25
    """
    bins = ReliabilityBins(num_bins)
    bins.update(probabilities, labels)
    return bins.ece()


def labelled_confidence(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Confidence of each labelled prediction (N,), and whether it is right (N,).

    Args:
        probabilities: (B, K, *S); the confidence is the largest one, the prediction its class.
        labels: (B, *S) integers; pixels of `IGNORE_INDEX` are left out.

    Raises:
        DataError: the shapes disagree.

    Example:
        >>> confidence, right = labelled_confidence(torch.tensor([[0.25, 0.75]]), torch.tensor([1]))
        >>> confidence.tolist(), right.tolist()
        ([0.75], [True])
    """
    check_shapes(probabilities, labels)
    confidence, prediction = probabilities.detach().max(dim=1)
    labels = labels.to(prediction.device)
    known = labels != IGNORE_INDEX
    return confidence[known], prediction[known] == labels[known]


def check_num_bins(num_bins: int) -> None:
    """Refuse what is no number of bins.

    Raises:
        ConfigError: it is not a whole number above 0.
    """
    if isinstance(num_bins, bool) or not isinstance(num_bins, int) or num_bins < 1:
        raise ConfigError(f"num_bins is {num_bins!r}; give a whole number above 0, for example 10")


def check_shapes(probabilities: Tensor, labels: Tensor) -> None:
    """Refuse predictions (B, K, *S) and labels (B, *S) that do not fit each other.

    Raises:
        DataError: they do not.
    """
    expected = (*probabilities.shape[:1], *probabilities.shape[2:])
    if probabilities.ndim < 2 or tuple(labels.shape) != expected:
        raise DataError(
            f"predictions of shape {tuple(probabilities.shape)} do not fit labels of shape "
            f"{tuple(labels.shape)}; give (B, K, *S) and (B, *S)"
        )
