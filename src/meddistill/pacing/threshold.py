"""Thresholds by histogram rank: how high may the bar be if a given share of the pixels is to pass it?"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from meddistill.losses.checks import check_choice, check_count, check_fraction, wide

Rounding = Literal["exact", "reference"]


class ConfidenceHistogram:
    """Counts of confidences in equal bins of 0..1; memory does not grow with the number of pixels.

    A pixel at a bin's lower edge belongs to that bin, compared in the precision of the confidences, so that
    the counts agree with the test `confidence >= threshold` that masks make.

    Args:
        bins: number of bins and of thresholds.

    Raises:
        ConfigError: `bins` is not a whole number of at least 1.

    Example:
        >>> histogram = ConfidenceHistogram()
        >>> histogram.update(torch.tensor([0.1, 0.2, 0.3, 0.4]))
        >>> histogram.threshold(0.5), histogram.kept_fraction(0.2)
        (0.2, 0.75)
    """

    def __init__(self, bins: int = 1000) -> None:
        self.bins = check_count("bins", bins)
        self.counts = torch.zeros(bins, dtype=torch.int64)

    @property
    def total(self) -> int:
        """Number of confidences counted."""
        return int(self.counts.sum())

    def update(self, confidences: Tensor, valid: Tensor | None = None) -> None:
        """Count `confidences` (any shape, 0..1) where `valid` (same shape, bool) is True, or all of them.

        Raises:
            ValueError: the shapes differ.
        """
        if valid is not None and valid.shape != confidences.shape:
            raise ValueError(
                f"valid {tuple(valid.shape)} does not fit confidences {tuple(confidences.shape)}"
            )
        values = wide(confidences.detach() if valid is None else confidences.detach()[valid]).flatten()
        edges = torch.arange(1, self.bins, dtype=torch.float64, device=values.device) / self.bins
        index = torch.bucketize(values, edges.to(values.dtype), right=True)
        self.counts = self.counts.to(values.device) + torch.bincount(index, minlength=self.bins)

    def threshold(self, fraction: float, *, rounding: Rounding = "exact") -> float:
        """The largest of the thresholds 0, 1/bins, ..., 1 - 1/bins that keeps more than `fraction`, or 0.

        Args:
            fraction: share of the pixels that must stay, 0..1.
            rounding: "exact" compares exact shares; "reference" rounds them to 3 decimals and never tries
                1/bins, as the code released with P-CD does.

        Raises:
            ConfigError: the fraction lies outside 0..1 or the rounding is unknown.
            ValueError: nothing was counted.
        """
        check_fraction("fraction", fraction)
        reference = check_choice("rounding", rounding, ("exact", "reference")) == "reference"
        total, kept = self._require_total(), 0
        counts = self.counts.tolist()
        for rank in range(self.bins - 1, 1 if reference else 0, -1):
            kept += counts[rank]
            share = round(kept / total, 3) if reference else kept / total
            if share > fraction:
                return rank / self.bins
        return 0.0

    def kept_fraction(self, threshold: float) -> float:
        """Share of the confidences at or above `threshold`; between two bin edges, above the upper one.

        Raises:
            ValueError: nothing was counted.
        """
        first = max(0, math.ceil(threshold * self.bins - 1e-6))
        return int(self.counts[first:].sum()) / self._require_total()

    def _require_total(self) -> int:
        total = self.total
        if not total:
            raise ValueError("the histogram is empty: no confidence was counted")
        return total


def threshold_for_fraction(confidences: Tensor, fraction: float, *, rounding: Rounding = "exact") -> float:
    """The largest of the thresholds 0, 0.001, ..., 0.999 that keeps more than `fraction`, or 0.

    Args:
        confidences: any shape, values in 0..1.
        fraction: share that must stay, 0..1; the beta of P-CD.
        rounding: see `ConfidenceHistogram.threshold`.

    Raises:
        ConfigError: the fraction lies outside 0..1.
        ValueError: there is no confidence.

    Example:
        >>> threshold_for_fraction(torch.linspace(0.0005, 0.9995, 1000), 0.7)
        0.299
    """
    histogram = ConfidenceHistogram()
    histogram.update(confidences)
    return histogram.threshold(fraction, rounding=rounding)
