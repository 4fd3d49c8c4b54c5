"""Calibration errors beside the plain one: with bins of equal mass, and class by class.

Sources: Nixon et al., "Measuring Calibration in Deep Learning" (CVPR workshops 2019), section 4.2, whose bins
of equal mass are taken of the largest probability here; Kull et al., "Beyond temperature scaling" (NeurIPS
2019), equation 3. Both are computed batch by batch in constant memory.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.evaluation.fine_histogram import FineHistogram
from meddistill.evaluation.reliability import (
    ReliabilityBins,
    check_num_bins,
    check_shapes,
    labelled_confidence,
)


def adaptive_error_of(confidences: FineHistogram, *, num_bins: int = 10) -> float:
    """Adaptive calibration error of confidences whose hits are right predictions.

    A cell of the histogram that lies across the edge of two bins is shared out between them.

    Args:
        confidences: of all predictions.
        num_bins: bins, each with the same share of the predictions.

    Returns:
        The error in 0..1; NaN when nothing was counted.

    Example:
        >>> confidences = FineHistogram()
        >>> confidences.update(torch.tensor([0.6, 0.6, 0.9, 0.9]), torch.tensor([True, False, True, True]))
        >>> round(adaptive_error_of(confidences, num_bins=2), 4)
        0.1
    """
    check_num_bins(num_bins)
    filled = confidences.counts > 0
    if not filled.any():
        return math.nan
    mass = _from_0(confidences.counts[filled].double())
    gaps = _from_0(confidences.hits[filled] - confidences.score_sum[filled])
    edges = torch.linspace(0, float(mass[-1]), num_bins + 1, dtype=torch.float64)
    above = torch.searchsorted(mass, edges).clamp(1, len(mass) - 1)
    share = (edges - mass[above - 1]) / (mass[above] - mass[above - 1])
    at_edges = torch.lerp(gaps[above - 1], gaps[above], share)
    return float(at_edges.diff().abs().sum() / mass[-1])


def adaptive_calibration_error(probabilities: Tensor, labels: Tensor, *, num_bins: int = 10) -> float:
    """Expected calibration error with bins that hold equally many predictions each.

    Args:
        probabilities: (B, K, *S) or (B, K), values in 0..1; the confidence is the largest one.
        labels: (B, *S) or (B,) integers; pixels of `IGNORE_INDEX` do not count.
        num_bins: number of bins.

    Returns:
        The error in 0..1, exact up to the width of the cells of a `FineHistogram`; NaN when no pixel is
        labelled.

    Raises:
        DataError: the shapes disagree, or a confidence is not in 0..1.
        ConfigError: `num_bins` is not a whole number above 0.

    Example:
        >>> probabilities = torch.tensor([[0.25, 0.75], [0.75, 0.25]])
        >>> round(adaptive_calibration_error(probabilities, torch.tensor([1, 0])), 6)
        0.25
    """
    confidences = FineHistogram()
    confidences.update(*labelled_confidence(probabilities, labels))
    return adaptive_error_of(confidences, num_bins=num_bins)


class ClasswiseBins:
    """Reliability bins of the probability of each class, whether or not it is the largest.

    Args:
        num_classes: K.
        num_bins: number of equal bins (low, high] on 0..1.

    Example:
        >>> bins = ClasswiseBins(2)
        >>> bins.update(torch.tensor([[0.2, 0.8], [0.2, 0.8]]), torch.tensor([1, 0]))
        >>> round(bins.error(), 4)
        0.3
    """

    def __init__(self, num_classes: int, num_bins: int = 10) -> None:
        self.classes = tuple(ReliabilityBins(num_bins) for _ in range(num_classes))

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Count a batch of probabilities (B, K, *S) and labels (B, *S).

        Raises:
            DataError: the shapes disagree, or a probability is not in 0..1.
        """
        check_shapes(probabilities, labels)
        known = labels != IGNORE_INDEX
        labelled = labels[known]
        for number, bins in enumerate(self.classes):
            bins.update_confidence(probabilities[:, number][known], labelled == number)

    def error(self) -> float:
        """Mean over the classes of their calibration errors; NaN when nothing was counted."""
        return sum(bins.ece() for bins in self.classes) / len(self.classes)


def classwise_calibration_error(probabilities: Tensor, labels: Tensor, *, num_bins: int = 10) -> float:
    """Class-wise expected calibration error: the mean over classes of how far p_k is from the share of k.

    Args:
        probabilities: (B, K, *S) or (B, K), values in 0..1.
        labels: (B, *S) or (B,) integers; pixels of `IGNORE_INDEX` do not count.
        num_bins: number of equal bins (low, high] for each class.

    Returns:
        The error in 0..1; NaN when no pixel is labelled. Classes that never occur count, too.

    Raises:
        DataError: the shapes disagree, or a probability is not in 0..1.
        ConfigError: `num_bins` is not a whole number above 0.

    Example:
        >>> probabilities = torch.tensor([[0.25, 0.75], [0.75, 0.25]])
        >>> classwise_calibration_error(probabilities, torch.tensor([1, 0]))
        0.25
    """
    check_shapes(probabilities, labels)
    bins = ClasswiseBins(probabilities.shape[1], num_bins)
    bins.update(probabilities, labels)
    return bins.error()


def _from_0(values: Tensor) -> Tensor:
    """Cumulative sums (N + 1,) of values (N,), from 0."""
    return torch.cat([values.new_zeros(1), values.cumsum(0)])
