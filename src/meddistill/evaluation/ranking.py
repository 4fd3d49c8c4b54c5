"""How well scores order images: ROC curve and its area, precision-recall curve and average precision.

Source: Fawcett, "An introduction to ROC analysis" (Pattern Recognition Letters 2006); average precision as
the sum of precisions weighted by the steps of recall, without interpolation. Images can be weighted, so that
a bootstrap sample is a list of how often each image was drawn, and nothing is sorted again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Curve(NamedTuple):
    """A ROC curve from (0, 0) to (1, 1).

    Args:
        false_positive_rate: (P,) rising.
        true_positive_rate: (P,) rising.
        thresholds: (P,) falling; a score of at least the threshold counts as positive.
    """

    false_positive_rate: Floats
    true_positive_rate: Floats
    thresholds: Floats


class Ranking:
    """N images in the falling order of their score.

    Args:
        scores: (N,) the larger, the likelier positive.
        positive: (N,) the truth.
        known: (N,) images that count; None for all.

    Example:
        >>> ranking = Ranking([0.9, 0.8, 0.8, 0.1], [True, False, True, False])
        >>> ranking.auroc(), round(ranking.average_precision(), 4)
        (0.875, 0.8333)
    """

    def __init__(
        self, scores: npt.ArrayLike, positive: npt.ArrayLike, known: npt.ArrayLike | None = None
    ) -> None:
        values, truth = np.asarray(scores, float), np.asarray(positive, bool)
        rows = np.arange(len(values)) if known is None else np.flatnonzero(np.asarray(known, bool))
        self._length = len(values)
        self._order = rows[np.argsort(-values[rows], kind="stable")]
        self._scores = values[self._order]
        self._positive = truth[self._order].astype(float)
        changes = np.flatnonzero(np.diff(self._scores))
        self._ends = np.append(changes, len(self._order) - 1) if len(self._order) else changes
        """Where each run of equal scores ends."""

    def auroc(self, weights: npt.ArrayLike | None = None) -> float:
        """Area under the ROC curve: the probability that a positive outranks a negative, ties by half.

        Args:
            weights: (N,) how often each image counts; None once.

        Returns:
            A number in 0..1; NaN without a positive or without a negative.
        """
        positives, negatives = self._cumulated(weights)
        total, against = _last(positives), _last(negatives)
        if not total or not against:
            return float("nan")
        above = np.concatenate([[0.0], positives[:-1]])
        return float(np.sum(np.diff(negatives, prepend=0.0) * (above + positives)) / (2 * total * against))

    def average_precision(self, weights: npt.ArrayLike | None = None) -> float:
        """Sum of the precisions at each score, weighted by the step of recall there.

        Args:
            weights: (N,) how often each image counts; None once.

        Returns:
            A number in 0..1; NaN without a positive.
        """
        positives, negatives = self._cumulated(weights)
        total = _last(positives)
        if not total:
            return float("nan")
        found = positives + negatives
        precision = np.divide(positives, found, out=np.zeros_like(found), where=found > 0)
        return float(np.sum(np.diff(positives, prepend=0.0) * precision) / total)

    def curve(self) -> Curve | None:
        """The ROC curve; None without a positive or without a negative.

        Example:
            >>> curve = Ranking([0.9, 0.4], [True, False]).curve()
            >>> curve.false_positive_rate.tolist(), curve.true_positive_rate.tolist()
            ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0])
        """
        positives, negatives = self._cumulated(None)
        if not _last(positives) or not _last(negatives):
            return None
        return Curve(
            np.append(0.0, negatives / negatives[-1]),
            np.append(0.0, positives / positives[-1]),
            np.append(np.inf, self._scores[self._ends]),
        )

    def _cumulated(self, weights: npt.ArrayLike | None) -> tuple[Floats, Floats]:
        """Positives and negatives down to the end of each run of equal scores."""
        given = np.ones(self._length) if weights is None else np.asarray(weights, float)
        ordered = given[self._order]
        positives = np.cumsum(ordered * self._positive)[self._ends]
        every = np.cumsum(ordered)[self._ends]
        return positives, every - positives


def _last(values: Floats) -> float:
    return float(values[-1]) if len(values) else 0.0
