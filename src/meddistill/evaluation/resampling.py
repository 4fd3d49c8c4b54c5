"""Confidence intervals of several numbers at once, each a function of how often every case was drawn.

The scheme is that of `statistics.bootstrap_ci` (groups are drawn, never single cases of one; Efron and
Tibshirani 1993, sections 13.3 and 14.3), with one difference that makes large sets and scores such as the
area under the ROC curve cheap: a bootstrap sample is a vector of counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from meddistill.errors import ConfigError, DataError
from meddistill.evaluation.statistics import bca_tails
from meddistill.progress import track

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.intp]
Statistics = Callable[[Floats], npt.ArrayLike]
"""From weights (R, N) of the cases, how often each of R samples has them, to M numbers of each sample (R, M);
NaN where one is undefined."""

JACKKNIFE_GROUPS = 1000
"""With more groups the interval is the plain percentile one: the correction, which needs as many evaluations
as there are groups, is then negligible."""

_BLOCK = 2**17
"""Weights that are worked on at a time, so few that they stay in the cache."""


class Resampled(NamedTuple):
    """What `resample` drew.

    Args:
        observed: (M,) the numbers of the data themselves.
        replicates: (R, M) those of the bootstrap samples.
        jackknife: (G, M) those without each group in turn; None with too many groups.
    """

    observed: Floats
    replicates: Floats
    jackknife: Floats | None

    def intervals(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Lower and upper ends, (M,) each; NaN with fewer than two groups.

        Samples in which a number is undefined are left out; where that is more than half of them there is no
        interval.
        """
        ends = [self._interval(column, level) for column in range(len(self.observed))]
        return np.array([low for low, _ in ends]), np.array([high for _, high in ends])

    def map(self, function: Callable[[Floats], Floats]) -> Resampled:
        """The same draws seen through a function of the numbers (..., M), for example a difference of two.

        Example:
            >>> drawn = resample(lambda samples: [[2, 1] for _ in samples], groups=["a", "b"], resamples=3)
            >>> drawn.map(lambda numbers: numbers[..., :1] - numbers[..., 1:]).observed.tolist()
            [1.0]
        """
        jackknife = None if self.jackknife is None else function(self.jackknife)
        return Resampled(function(self.observed), function(self.replicates), jackknife)

    def p_values(self) -> Floats:
        """(M,) two-sided p of the hypothesis that the number is 0: twice the share of samples beyond 0.

        NaN where the number is undefined or there are fewer than two groups.
        """
        return np.array([self._p_value(column) for column in range(len(self.observed))])

    def _interval(self, column: int, level: float) -> tuple[float, float]:
        drawn = self.replicates[:, column]
        defined = drawn[~np.isnan(drawn)]
        if len(drawn) == 0 or len(defined) < len(drawn) / 2 or np.isnan(self.observed[column]):
            return np.nan, np.nan
        tails = np.array([(1 - level) / 2, (1 + level) / 2])
        if self.jackknife is not None:
            kept = self.jackknife[:, column]
            tails = bca_tails(tails, defined, float(self.observed[column]), kept[~np.isnan(kept)])
        low, high = np.quantile(defined, tails)
        return float(low), float(high)

    def _p_value(self, column: int) -> float:
        drawn = self.replicates[:, column]
        defined = drawn[~np.isnan(drawn)]
        if not len(defined) or np.isnan(self.observed[column]):
            return float("nan")
        beyond = min(int(np.sum(defined <= 0)), int(np.sum(defined >= 0)))
        return min(1.0, 2 * (beyond + 1) / (len(defined) + 1))


def resample(
    statistics: Statistics,
    *,
    groups: npt.ArrayLike,
    resamples: int = 2000,
    seed: int = 0,
    title: str = "",
) -> Resampled:
    """Draw bootstrap samples of whole groups and evaluate the numbers of each.

    Args:
        statistics: from weights (R, N) to M numbers of each of R samples (R, M), some samples at a time.
        groups: (N,) group of each case.
        resamples: R.
        seed: of the draws, which are those of `bootstrap_ci` with the same seed.
        title: what a bar on a terminal says; empty shows none.

    Raises:
        ConfigError: `resamples` is below 1.
        DataError: there are no cases.

    Example:
        >>> values = np.array([0.7, 0.8, 0.9, 0.6, 0.8, 0.7])
        >>> drawn = resample(lambda weights: (weights @ values / 6)[:, None], groups=np.arange(6))
        >>> low, high = drawn.intervals()
        >>> round(float(low[0]), 2), round(float(high[0]), 2)
        (0.67, 0.83)
    """
    names = np.asarray(groups)
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}; give 1 or more")
    if not len(names):
        raise DataError("there are no cases to draw from")
    member = _numbered(names)
    count = int(member.max()) + 1
    observed = np.asarray(statistics(np.ones((1, len(names)))), float)[0]
    if count < 2:
        return Resampled(observed, np.zeros((0, len(observed))), None)
    left_out = count if count <= JACKKNIFE_GROUPS else 0
    total, size = resamples + left_out, max(1, _BLOCK // len(names))
    times = chain(_drawn(count, resamples, seed), _without_each(left_out))
    shown = track(times, title, total=total) if title else times
    found = []
    while block := list(islice(shown, size)):
        found.append(np.asarray(statistics(np.stack(block)[:, member].astype(float)), float))
    replicates, jackknife = np.split(np.concatenate(found), [resamples])
    return Resampled(observed, replicates, jackknife if left_out else None)


def _drawn(count: int, resamples: int, seed: int) -> Iterator[Counts]:
    """How often each of `count` groups is in each bootstrap sample."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(rng.integers(0, count, count), minlength=count)


def _without_each(count: int) -> Iterator[Counts]:
    """The same for the samples that lack one group."""
    for group in range(count):
        times = np.ones(count, np.intp)
        times[group] = 0
        yield times


def _numbered(names: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """The number of the group of each case, in the order in which the groups first appear."""
    _, first, position = np.unique(names, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.intp)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[position]
