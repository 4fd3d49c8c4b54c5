"""How well scores order images: ROC curve and its area, precision-recall curve and average precision.

Source: Fawcett, "An introduction to ROC analysis" (Pattern Recognition Letters 2006); average precision as
the sum of precisions weighted by the steps of recall, without interpolation. Images can be weighted, so that
a bootstrap sample is a list of how often each image was drawn, and nothing is sorted again; many samples are
scored at once.
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
        >>> float(ranking.auroc()), round(float(ranking.average_precision()), 4)
        (0.875, 0.8333)
        >>> ranking.auroc([[1, 1, 1, 1], [1, 0, 1, 1]]).tolist()
        [0.875, 1.0]
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
        self._starts = np.flatnonzero(np.diff(self._scores, prepend=np.nan))
        """Where each run of equal scores starts."""

    def auroc(self, weights: npt.ArrayLike | None = None) -> Floats:
        """Area under the ROC curve: the probability that a positive outranks a negative, ties by half.

        Args:
            weights: (..., N) how often each image counts; None once.

        Returns:
            (...) numbers in 0..1; NaN without a positive or without a negative.
        """
        positives, negatives = self._counted(weights)
        above = np.cumsum(positives, axis=-1) - positives / 2
        pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
        return ratio((negatives * above).sum(axis=-1), pairs, np.nan)

    def average_precision(self, weights: npt.ArrayLike | None = None) -> Floats:
        """Sum of the precisions at each score, weighted by the step of recall there.

        Args:
            weights: (..., N) how often each image counts; None once.

        Returns:
            (...) numbers in 0..1; NaN without a positive.
        """
        positives, negatives = self._counted(weights)
        found = np.cumsum(positives, axis=-1)
        precision = ratio(found, found + np.cumsum(negatives, axis=-1))
        return ratio((positives * precision).sum(axis=-1), positives.sum(axis=-1), np.nan)

    def curve(self) -> Curve | None:
        """The ROC curve; None without a positive or without a negative.

        Example:
            >>> curve = Ranking([0.9, 0.4], [True, False]).curve()
            >>> curve.false_positive_rate.tolist(), curve.true_positive_rate.tolist()
            ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0])
        """
        positives, negatives = self._counted(None)
        if not positives.any() or not negatives.any():
            return None
        return Curve(
            np.append(0.0, np.cumsum(negatives) / negatives.sum()),
            np.append(0.0, np.cumsum(positives) / positives.sum()),
            np.append(np.inf, self._scores[self._starts]),
        )

    def _counted(self, weights: npt.ArrayLike | None) -> tuple[Floats, Floats]:
        """Positives and negatives (..., P) with each score, from the highest."""
        given = np.ones(self._length) if weights is None else np.asarray(weights, float)
        every = given[..., self._order]
        positives = every * self._positive
        return self._by_score(positives), self._by_score(every - positives)

    def _by_score(self, counts: Floats) -> Floats:
        """Sums (..., P) over equal scores."""
        if len(self._starts) == counts.shape[-1]:
            return counts
        sums: Floats = np.add.reduceat(counts, self._starts, axis=-1)
        return sums


def ratio(part: Floats, whole: Floats, otherwise: float = 0.0) -> Floats:
    """Part / whole, and `otherwise` where the whole is 0.

    Example:
        >>> ratio(np.array([1.0, 0.0]), np.array([4.0, 0.0])).tolist()
        [0.25, 0.0]
    """
    filled = whole > 0
    return np.where(filled, part / np.where(filled, whole, 1.0), otherwise)
