"""What the scores of one case need of its logits, gathered at once or part by part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import DataError
from meddistill.evaluation.overlap import (
    OverlapCounts,
    dice_from_counts,
    iou_from_counts,
    overlap_counts,
    precision_from_counts,
    recall_from_counts,
)
from meddistill.evaluation.proper_scores import pixel_scores
from meddistill.evaluation.reliability import ReliabilityBins
from meddistill.evaluation.surface import surface_distances


class CaseTally:
    """Prediction, counts of pixels and calibration of one image or volume.

    Args:
        label: (*S) integers, `IGNORE_INDEX` where unknown.
        num_classes: K, background included.

    Example:
        >>> tally = CaseTally(torch.tensor([[0, 1]]), 2)
        >>> tally.update(torch.tensor([[[2.0, 0.0]], [[0.0, 2.0]]]))
        >>> tally.prediction.tolist(), round(tally.calibration()["brier"], 4)
        ([[0, 1]], 0.0284)
    """

    def __init__(self, label: Tensor, num_classes: int) -> None:
        self.label = label
        self.prediction = torch.zeros(label.shape, dtype=torch.int16)
        zeros = torch.zeros(1, num_classes, dtype=torch.int64)
        self.counts = OverlapCounts(zeros, zeros, zeros)
        self.bins = ReliabilityBins()
        self._nll = self._brier = 0.0

    def update(self, logits: Tensor, where: tuple[slice, ...] | EllipsisType = ...) -> None:
        """Count the logits (K, *S) of the case, or of the part of it at `where`.

        Raises:
            DataError: logits that are not finite, or do not fit the classes and the label.
        """
        classes, label = self.counts.both.shape[1], self.label[where]
        if len(logits) != classes or logits.shape[1:] != label.shape:
            raise DataError(
                f"logits {tuple(logits.shape)} do not fit {classes} classes and a label of "
                f"{tuple(label.shape)}"
            )
        if not bool(logits.isfinite().all()):
            raise DataError("the logits hold NaN or infinity")
        label = label.to(logits.device).long()
        prediction = logits.max(dim=0).indices  # on a CPU ten times as fast as argmax
        found = overlap_counts(prediction[None], label[None], num_classes=classes)
        self.counts = OverlapCounts(
            *(before + now.cpu() for before, now in zip(self.counts, found, strict=True))
        )
        self.prediction[where] = prediction.to(torch.int16).cpu()
        self._calibrate(logits.log_softmax(dim=0), label, prediction)

    def _calibrate(self, logs: Tensor, label: Tensor, prediction: Tensor) -> None:
        nll, brier = pixel_scores(logs[None], label[None])
        self._nll += float(nll.double().sum())
        self._brier += float(brier.double().sum())
        known = label != IGNORE_INDEX
        confidence, correct = logs.amax(dim=0).exp(), prediction == label
        if not bool(known.all()):
            confidence, correct = confidence[known], correct[known]
        self.bins.update_confidence(confidence, correct)

    def calibration(self) -> dict[str, Any]:
        """`pixels`, `ece`, `nll` and `brier` over all labelled pixels; NaN where there are none."""
        pixels = self.bins.total
        mean = 1 / pixels if pixels else math.nan
        return {
            "pixels": pixels,
            "ece": self.bins.ece(),
            "nll": self._nll * mean,
            "brier": self._brier * mean,
        }

    def scores(self, spacing: Sequence[float] | None) -> dict[str, Tensor]:
        """Overlap, counts of pixels and surface distances of the foreground classes, each (1, K - 1).

        Args:
            spacing: size of a pixel along each axis in mm; None gives distances in pixels.
        """
        counts = OverlapCounts(*(part[:, 1:] for part in self.counts))
        distances = surface_distances(
            self.prediction[None],
            self.label[None].cpu(),
            num_classes=self.counts.both.shape[1],
            spacing=spacing,
        )
        return {
            "dice": dice_from_counts(counts),
            "iou": iou_from_counts(counts),
            "precision": precision_from_counts(counts),
            "recall": recall_from_counts(counts),
            "label_pixels": counts.labelled,
            "predicted_pixels": counts.predicted,
            **distances._asdict(),
        }
