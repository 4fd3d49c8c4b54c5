"""Risk-coverage curves: how much better the rest is when the least certain answers are left to somebody else.

Sources: Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks" (NeurIPS 2017), section 2;
Geifman et al., "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers" (ICLR 2019), section 3, for
the area under the curve and its excess over the best order. Answers that are equally uncertain are taken in
random order: every number is the mean over these orders, so that none depends on how a set was sorted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from meddistill.errors import DataError
from meddistill.evaluation.ranking import Ranking

Floats = npt.NDArray[np.float64]

REFERRED = (0.0, 0.05, 0.1, 0.2, 0.3)
"""Shares of the answers that are referred in a table."""


class RiskCoverage(NamedTuple):
    """Answers in the rising order of their uncertainty, in P blocks of equally uncertain ones.

    Args:
        counts: (P,) number of answers in each block; may be 0.
        risks: (P,) sum of their risks, each in 0..1: 0 for right, 1 for wrong.

    Example:
        >>> certain_first = RiskCoverage(np.array([1.0, 1.0]), np.array([0.0, 1.0]))
        >>> certain_first.aurc(), certain_first.risk_of_rest(0.5)
        (0.25, 0.0)
    """

    counts: Floats
    risks: Floats

    @classmethod
    def of(
        cls, uncertainty: npt.ArrayLike, risk: npt.ArrayLike, weights: npt.ArrayLike | None = None
    ) -> Self:
        """From N answers.

        Args:
            uncertainty: (N,) the larger, the less certain.
            risk: (N,) in 0..1.
            weights: (N,) how often each answer counts; None once.

        Raises:
            DataError: the lists differ in length, or hold NaN.

        Example:
            >>> RiskCoverage.of([0.3, 0.1, 0.3], [1.0, 0.0, 0.0]).counts
            array([1., 2.])
        """
        values, risks = np.asarray(uncertainty, float), np.asarray(risk, float)
        given = np.ones(len(values)) if weights is None else np.asarray(weights, float)
        if not values.shape == risks.shape == given.shape or np.isnan(values + risks).any():
            raise DataError(
                f"uncertainties {values.shape} and risks {risks.shape} must be equally long and without NaN"
            )
        block = np.unique(values, return_inverse=True)[1]
        sums = (np.bincount(block, part).astype(float) for part in (given, given * risks))
        return cls(*sums)

    def aurc(self) -> float:
        """Mean over all coverages of the risk of the answers that are kept; NaN without an answer.

        The j-th answer of a block adds (R + j r) / (C + j), with C and R the number and risk of the answers
        before it and r the mean risk of the block; sums of 1 / (C + j) are differences of digamma.
        """
        from scipy.special import digamma

        filled = self.counts > 0
        counts, risks = self.counts[filled], self.risks[filled]
        if not len(counts):
            return math.nan
        before, risk_before = np.cumsum(counts) - counts, np.cumsum(risks) - risks
        excess = risk_before - before * risks / counts
        inverses = digamma(before + counts + 1) - digamma(before + 1)
        return float((risks + excess * inverses).sum() / counts.sum())

    def risk_of_rest(self, share: float) -> float:
        """Mean risk of the answers that are kept when the most uncertain ones are referred.

        Args:
            share: of the answers to refer, rounded up to whole answers, in 0..1.

        Returns:
            NaN when nothing is left.
        """
        total = float(self.counts.sum())
        kept = total - math.ceil(share * total - 1e-9)
        if kept <= 0:
            return math.nan
        reached = np.append(0.0, np.cumsum(self.counts))
        return float(np.interp(kept, reached, np.append(0.0, np.cumsum(self.risks))) / kept)

    def curve(self, points: int = 100) -> dict[str, list[float]]:
        """`coverage` and `risk`, at most `points` of each from small to whole coverage.

        Example:
            >>> RiskCoverage(np.array([2.0, 2.0]), np.array([0.0, 1.0])).curve(points=2)
            {'coverage': [0.5, 1.0], 'risk': [0.0, 0.25]}
        """
        total = float(self.counts.sum())
        steps = max(1, min(points, round(total)))
        coverages = np.arange(1, steps + 1) / steps if total else np.zeros(0)
        return {
            "coverage": coverages.tolist(),
            "risk": [self.risk_of_rest(1 - coverage) for coverage in coverages],
        }


class Found(NamedTuple):
    """How well uncertainty tells wrong answers from right ones.

    Args:
        auroc: how often a wrong answer is less certain than a right one; NaN without one of either.
        aupr: average precision of wrong answers; NaN without any. By chance it is the share of wrong ones.
    """

    auroc: float
    aupr: float


@dataclass(frozen=True)
class CaseRanking:
    """N cases with their uncertainty.

    Args:
        uncertainty: (N,) the larger, the less certain.
        risk: (N,) in 0..1, for example 1 - Dice.
        wrong: (N,) which of them count as errors.

    Example:
        >>> ranking = CaseRanking(np.array([0.1, 0.5]), np.array([0.1, 0.6]), np.array([False, True]))
        >>> ranking.found(np.ones(2)).auroc, round(ranking.by_uncertainty(np.ones(2)).aurc(), 3)
        (1.0, 0.225)
    """

    uncertainty: Floats
    risk: Floats
    wrong: npt.NDArray[np.bool_]

    def by_uncertainty(self, weights: Floats) -> RiskCoverage:
        """The cases, each counted as often as `weights` (N,) say."""
        return RiskCoverage.of(self.uncertainty, self.risk, weights)

    def best(self, weights: Floats) -> RiskCoverage:
        """The cases in the best order, that of their risks."""
        return RiskCoverage.of(self.risk, self.risk, weights)

    def found(self, weights: Floats) -> Found:
        """Whether uncertain cases are the wrong ones."""
        return _found(self._ranking, weights)

    def error_rate(self, weights: Floats) -> float:
        """Share of the cases that are wrong."""
        return float(weights @ self.wrong / weights.sum())

    @cached_property
    def _ranking(self) -> Ranking:
        return Ranking(self.uncertainty, self.wrong)


@dataclass(frozen=True)
class PixelRanking:
    """The pixels of N cases, counted in C cells of rising uncertainty.

    Args:
        counts: (N, C) pixels of each case.
        wrong: (N, C) those of them that are wrong.

    Example:
        >>> ranking = PixelRanking(np.array([[3.0, 1.0]]), np.array([[0.0, 1.0]]))
        >>> ranking.found(np.ones(1)).auroc, ranking.by_uncertainty(np.ones(1)).risk_of_rest(0.25)
        (1.0, 0.0)
    """

    counts: Floats
    wrong: Floats

    def by_uncertainty(self, weights: Floats) -> RiskCoverage:
        """The pixels of all cases, each case counted as often as `weights` (N,) say."""
        return RiskCoverage(weights @ self.counts, weights @ self.wrong)

    def best(self, weights: Floats) -> RiskCoverage:
        """The pixels in the best order: right ones first."""
        total, wrong = (float((weights @ part).sum()) for part in (self.counts, self.wrong))
        return RiskCoverage(np.array([total - wrong, wrong]), np.array([0.0, wrong]))

    def found(self, weights: Floats) -> Found:
        """Whether uncertain pixels are the wrong ones."""
        every, wrong = weights @ self.counts, weights @ self.wrong
        return _found(self._ranking, np.concatenate([wrong, every - wrong]))

    def error_rate(self, weights: Floats) -> float:
        """Share of the pixels that are wrong; NaN without a pixel."""
        every = float((weights @ self.counts).sum())
        return float((weights @ self.wrong).sum()) / every if every else math.nan

    @cached_property
    def _ranking(self) -> Ranking:
        """The wrong pixels of each cell, then the right ones, as if each were a single answer."""
        cells = np.arange(self.counts.shape[1])
        return Ranking(np.tile(cells, 2), np.repeat([True, False], len(cells)))


def _found(ranking: Ranking, weights: Floats) -> Found:
    return Found(float(ranking.auroc(weights)), float(ranking.average_precision(weights)))
