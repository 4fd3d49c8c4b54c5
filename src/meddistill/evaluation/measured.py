"""A table of answers prepared for scoring: counts, rankings and calibration, each image with a weight."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from meddistill.data.case import IGNORE_INDEX
from meddistill.evaluation.answers import AnswerTable
from meddistill.evaluation.ranking import Ranking, ratio

Floats = npt.NDArray[np.float64]

BINS = 10
"""Equal bins (low, high] of the calibration error."""


class Counts(NamedTuple):
    """One class against the others, (..., K) each: weights of the images right or wrong in which way."""

    true_positive: Floats
    false_positive: Floats
    false_negative: Floats
    true_negative: Floats

    @property
    def support(self) -> Floats:
        """(..., K) images that belong to the class."""
        return self.true_positive + self.false_negative


class Measured:
    """N images with what every score needs of them. Unknown labels count nowhere.

    Everything takes `weights` (..., N): how often each image counts, for any number of samples at once.

    Args:
        table: the answers.

    Example:
        >>> names = np.array(["a", "b", "c"])
        >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
        >>> table = AnswerTable(names, names, names, np.array([0, 1, 0]), probabilities, ("healthy", "sick"))
        >>> measured = Measured(table)
        >>> measured.counts(measured.ones).true_positive.tolist(), measured.confusion().tolist()
        ([1.0, 1.0], [[1, 1], [0, 1]])
    """

    def __init__(self, table: AnswerTable) -> None:
        self.table = table
        self.ones: Floats = np.ones(len(table))
        columns = np.arange(len(table.class_names))
        several = table.task == "multi_label"
        label, predicted = table.labels, table.predicted
        self.truth = label == 1 if several else label[:, None] == columns
        """(N, K) whether the image belongs to the class."""
        self.answer = predicted == 1 if several else predicted[:, None] == columns
        """(N, K) whether it is said to."""
        self.known = table.known if several else np.repeat(table.known[:, None], len(columns), axis=1)
        """(N, K) whether the truth is known."""
        kinds = (self.truth & self.answer, ~self.truth & self.answer, self.truth & ~self.answer)
        self._kinds = [(kind & self.known).astype(float) for kind in kinds]
        self._kinds.append((~self.truth & ~self.answer & self.known).astype(float))

    def counts(self, weights: Floats) -> Counts:
        """Right and wrong answers of each class against the others."""
        return Counts(*(weights @ kind for kind in self._kinds))

    @cached_property
    def rankings(self) -> tuple[Ranking, ...]:
        """The images in the order of the probability of each class."""
        return tuple(
            Ranking(self.table.probabilities[:, k], self.truth[:, k], self.known[:, k])
            for k in range(self.truth.shape[1])
        )

    @cached_property
    def correct(self) -> Floats:
        """(N,) share of right answers about each image: 0 or 1 for a class; NaN where nothing is known."""
        if self.table.task == "multi_label":
            return weighted_mean((self.truth == self.answer).astype(float), self.known.astype(float))
        right = (self.table.predicted == self.table.labels).astype(float)
        return np.where(self.table.known, right, np.nan)

    @cached_property
    def brier(self) -> Floats:
        """(N,) squared error of the probabilities: the sum over classes (0..2), the mean over labels (0..1).

        NaN where nothing is known.
        """
        squares = (self.table.probabilities - self.truth) ** 2
        if self.table.task == "multi_label":
            return weighted_mean(squares, self.known.astype(float))
        return np.where(self.table.known, squares.sum(axis=1), np.nan)

    @cached_property
    def nll(self) -> Floats:
        """(N,) negative log-likelihood of the truth (nats), of several labels the mean; NaN where unknown."""
        chance = np.where(self.truth, self.table.probabilities, 1 - self.table.probabilities)
        losses = -np.log(np.maximum(chance, np.finfo(float).tiny))
        if self.table.task == "multi_label":
            return weighted_mean(losses, self.known.astype(float))
        label = np.where(self.table.known, self.table.labels, 0)
        own: Floats = np.take_along_axis(losses, label[:, None], axis=1)[:, 0]
        return np.where(self.table.known, own, np.nan)

    @cached_property
    def decisions(self) -> tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
        """Confidence of every known decision (D,), whether it was right (D,), and whose image it is (D,).

        A class is one decision, each of several labels one of its own, with the larger of p and 1 - p.
        """
        probabilities = self.table.probabilities
        if self.table.task == "multi_label":
            rows = np.nonzero(self.known)[0]
            sure = np.maximum(probabilities, 1 - probabilities)
            return sure[self.known], (self.truth == self.answer)[self.known], rows
        rows = np.flatnonzero(self.table.known)
        return probabilities.max(axis=1)[rows], self.correct[rows] == 1, rows

    @cached_property
    def _gaps(self) -> tuple[Floats, Floats]:
        """Hits less confidence of each image in each bin (N, BINS), and its decisions (N,)."""
        confidence, right, rows = self.decisions
        edges = np.linspace(0, 1, BINS + 1)[1:-1].astype(np.float32)
        bins = np.searchsorted(edges, confidence.astype(np.float32))
        gaps = np.zeros((len(self.table), BINS))
        np.add.at(gaps, (rows, bins), right - confidence)
        return gaps, np.bincount(rows, minlength=len(self.table)).astype(float)

    def calibration_error(self, weights: Floats) -> Floats:
        """(...) expected calibration error over all known decisions; NaN without any."""
        gaps, decisions = self._gaps
        return ratio(np.abs(weights @ gaps).sum(axis=-1), weights @ decisions, np.nan)

    def confusion(self) -> npt.NDArray[np.int64]:
        """Images by true (row) and answered class, (K, K); of several labels by label, (L, 2, 2)."""
        if self.table.task == "multi_label":
            counts = self.counts(self.ones)
            cells = [counts.true_negative, counts.false_positive, counts.false_negative, counts.true_positive]
            return np.stack(cells, axis=1).reshape(-1, 2, 2).astype(np.int64)
        known = self.table.labels != IGNORE_INDEX
        size = len(self.table.class_names)
        pairs = self.table.labels[known] * size + self.table.predicted[known]
        return np.bincount(pairs, minlength=size * size).reshape(size, size).astype(np.int64)


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """(...) mean of the defined of values (N,) or (..., N), each with a weight (..., N); NaN without any.

    Example:
        >>> weights = np.array([[2.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
        >>> weighted_mean(np.array([1.0, np.nan, 4.0]), weights).tolist()
        [2.0, nan]
    """
    counted = np.where(np.isnan(values), 0.0, weights)
    return ratio((np.nan_to_num(values) * counted).sum(axis=-1), counted.sum(axis=-1), np.nan)
