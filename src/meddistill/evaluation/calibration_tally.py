"""Every measure of how honest probabilities are, gathered batch by batch in constant memory."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from meddistill.errors import DataError
from meddistill.evaluation.calibration_error import ClasswiseBins, adaptive_error_of
from meddistill.evaluation.fine_histogram import FineHistogram
from meddistill.evaluation.proper_scores import pixel_scores
from meddistill.evaluation.reliability import ReliabilityBins, check_shapes, labelled_confidence

MEASURES = ("ece", "adaptive_ece", "classwise_ece", "brier", "nll")
"""Keys of the measures in `CalibrationTally.to_json`; of each less is better."""


class CalibrationTally:
    """Calibration errors and proper scores of the softmax of logits, over all labelled pixels of a set.

    Args:
        num_classes: K.
        num_bins: bins of the calibration errors.

    Example:
        >>> tally = CalibrationTally(2)
        >>> tally.update(torch.tensor([[0.0, 2.0], [2.0, 0.0]]), torch.tensor([1, 0]))
        >>> round(tally.to_json()["ece"], 4), round(tally.to_json()["nll"], 4), tally.pixels
        (0.1192, 0.1269, 2)
    """

    def __init__(self, num_classes: int, num_bins: int = 10) -> None:
        self.bins = ReliabilityBins(num_bins)
        self._classwise = ClasswiseBins(num_classes, num_bins)
        self._confidences = FineHistogram()
        self._sums = torch.zeros(2, dtype=torch.float64)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch of logits (B, K, *S) and labels (B, *S); pixels of `IGNORE_INDEX` do not count.

        Raises:
            DataError: the shapes disagree, or the logits are not finite.
        """
        check_shapes(logits, labels)
        if not bool(logits.isfinite().all()):
            raise DataError("the logits hold NaN or infinity")
        labels = labels.to(logits.device)
        logs = logits.detach().float().log_softmax(dim=1)
        self._sums += torch.stack([part.double().sum().cpu() for part in pixel_scores(logs, labels)])
        probabilities = logs.exp()
        self._classwise.update(probabilities, labels)
        predictions = labelled_confidence(probabilities, labels)
        self.bins.update_confidence(*predictions)
        self._confidences.update(*predictions)

    @property
    def pixels(self) -> int:
        """Number of labelled pixels counted so far."""
        return self.bins.total

    def to_json(self) -> dict[str, Any]:
        """Plain values: `pixels`, each of `MEASURES` (NaN where nothing was counted), and `reliability`."""
        nll, brier = (self._sums / self.pixels).tolist() if self.pixels else (math.nan, math.nan)
        return {
            "pixels": self.pixels,
            "ece": self.bins.ece(),
            "adaptive_ece": adaptive_error_of(self._confidences, num_bins=self.bins.num_bins),
            "classwise_ece": self._classwise.error(),
            "brier": brier,
            "nll": nll,
            "reliability": self.bins.to_dict(),
        }
