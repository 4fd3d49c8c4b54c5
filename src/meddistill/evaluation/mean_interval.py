"""Confidence interval of a mean over cases, with the cases of one group kept together.

Source: the studentised (bootstrap-t) interval, Efron and Tibshirani, An Introduction to the Bootstrap (1993),
section 12.5, with whole groups as the sampling unit and standard errors of a ratio of sums, since groups
differ in size. At each end the interval reaches as far as Student's t does or farther: with few groups, or
scores that are all alike but for a few, too few different samples can be drawn. Of the intervals tried it is
the one that covers skewed scores of few groups best (docs/results/coverage.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from meddistill.errors import ConfigError, DataError
from meddistill.evaluation.chunks import chunks

Floats = npt.NDArray[np.float64]


def mean_ci(
    values: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float]:
    """Studentised bootstrap interval of a mean; whole groups are resampled, never single cases of one.

    Args:
        values: (N,) scores, or (S, N) those of S runs, of whose means the mean is meant; NaN is left out.
        groups: (N,) group of each case, for example the patient; None takes every case as its own group.
        level: coverage asked for, in (0, 1).
        resamples: number of bootstrap samples.
        seed: seed of the resampling.
        bounds: the lowest and highest value that a score can have; the interval ends there.

    Returns:
        (low, high); (nan, nan) with fewer than two groups in a run or an infinite score.

    Raises:
        ConfigError: level or resamples out of range.
        DataError: values and groups differ in length.

    Example:
        >>> low, high = mean_ci([0.7, 0.8, 0.9, 0.6, 0.8, 0.7])
        >>> round(low, 2), round(high, 2)
        (0.64, 0.86)
    """
    data = GroupSums.of(values, groups)
    return data.interval(level=level, resamples=resamples, seed=seed, bounds=bounds)


@dataclass(frozen=True)
class GroupSums:
    """Scores summed by run and group.

    Args:
        sums: (S, G) sum of the defined scores of each run in each group.
        counts: (S, G) their number.
    """

    sums: Floats
    counts: Floats

    @classmethod
    def of(cls, values: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Self:
        """From scores (N,) or (S, N) and the group of each case; runs and groups without a score are dropped.

        Raises:
            DataError: values and groups differ in length.

        Example:
            >>> GroupSums.of([0.5, 0.7, np.nan, 0.9], ["b", "b", "a", "c"]).sums
            array([[1.2, 0.9]])
        """
        table = np.atleast_2d(np.asarray(values, float))
        names = np.arange(table.shape[1]) if groups is None else np.asarray(groups)
        if table.ndim != 2 or table.shape[1:] != names.shape:
            raise DataError(f"scores {table.shape[1:]} and groups {names.shape} must be lists of one length")
        member = np.unique(names, return_inverse=True)[1]
        defined = ~np.isnan(table)
        size = int(member.max(initial=-1)) + 1
        counts = np.stack([np.bincount(member[row], minlength=size) for row in defined]).astype(float)
        by_run = zip(table, defined, strict=True)
        sums = np.stack([np.bincount(member[d], run[d], size) for run, d in by_run]).astype(float)
        runs, kept = counts.any(axis=1), counts.any(axis=0)
        return cls(sums[runs][:, kept], counts[runs][:, kept])._in_order()

    def _in_order(self) -> Self:
        """Groups by what they add to the mean, so that neither their names nor the order of cases matter."""
        if not np.isfinite(self.sums).all() or not self.counts.size:
            return self
        order = np.lexsort((self.counts.sum(axis=0), self.influence.mean(axis=0)))
        return type(self)(self.sums[:, order], self.counts[:, order])

    def interval(
        self,
        *,
        level: float = 0.95,
        resamples: int = 2000,
        seed: int = 0,
        bounds: tuple[float, float] = (-np.inf, np.inf),
    ) -> tuple[float, float]:
        """That of `mean_ci`."""
        if not 0 < level < 1 or resamples < 1:
            raise ConfigError(f"level {level} must be in (0, 1) and resamples {resamples} at least 1")
        if not self.has_interval:
            return np.nan, np.nan
        ratios = self._t_quantiles(level, resamples, seed)
        high, low = np.clip(self.means.mean() - self.standard_error * ratios, *bounds)
        return float(low), float(high)

    @property
    def groups(self) -> int:
        """G."""
        return int(self.counts.shape[1])

    @property
    def has_interval(self) -> bool:
        """Whether every run has scores in two groups or more, all of them finite."""
        enough = self.counts.size > 0 and bool(np.all((self.counts > 0).sum(axis=1) > 1))
        return enough and bool(np.isfinite(self.sums).all())

    @property
    def means(self) -> Floats:
        """(S,) mean of each run over its cases."""
        return _mean(self.sums, self.counts)

    @property
    def influence(self) -> Floats:
        """(S, G) by how much each group moves the mean of a run; the sum of a run is 0."""
        totals = self.counts.sum(axis=1, keepdims=True)
        influence: Floats = (self.sums - self.means[:, None] * self.counts) / totals
        return influence

    @property
    def leave_one_out(self) -> Floats:
        """(S, G) mean of each run without each group in turn."""
        sums, counts = (part.sum(axis=1, keepdims=True) - part for part in (self.sums, self.counts))
        left: Floats = sums / counts
        return left

    @property
    def standard_error(self) -> float:
        """Of the mean of the runs' means over other groups like these, by the jackknife over groups."""
        left = self.leave_one_out.mean(axis=0)
        return float(np.sqrt((self.groups - 1) * left.var()))

    def _t_quantiles(self, level: float, resamples: int, seed: int) -> Floats:
        """(2,) lower and upper quantile of (mean - true mean) / standard error."""
        from scipy.stats import t

        tails = np.array([(1 - level) / 2, (1 + level) / 2])
        students: Floats = t.ppf(tails, self.groups - 1)
        drawn = np.concatenate(list(self._ratios(resamples, seed)))
        if not len(drawn):
            return students
        low, high = np.quantile(drawn, tails)
        return np.array([min(low, students[0]), max(high, students[1])])

    def _ratios(self, resamples: int, seed: int) -> Iterator[Floats]:
        """The t of bootstrap samples, without those in which all groups are alike, which have none."""
        rng = np.random.default_rng(seed)
        alike = 1e-6 * self.standard_error
        for rows in chunks(resamples, self.counts.size):
            moved, errors = self._drawn(draw_weights(rng, self.groups, rows))
            varied = errors > alike
            yield moved[varied] / errors[varied]

    def _drawn(self, weights: Floats) -> tuple[Floats, Floats]:
        """By how much the means of samples with weights (R, G) differ, and their standard errors, (R,) each.

        A group adds the sum over runs of (sum - mean * count) / (S * total count) to the error of a sample.
        That is linear in the group's sums and counts, so its square is a quadratic form of their products.
        NaN where a run has no score in a sample.
        """
        centred = self.sums - self.means[:, None] * self.counts
        parts = np.concatenate([centred, self.counts])
        products = weights @ (parts[:, None] * parts).reshape(-1, self.groups).T
        totals = weights @ self.counts.T
        with np.errstate(invalid="ignore", divide="ignore"):
            moved = weights @ centred.T / totals
            factors = np.concatenate([1 / totals, -moved / totals], axis=1) / len(self.sums)
        squares = np.einsum("ri,rij,rj->r", factors, products.reshape(-1, len(parts), len(parts)), factors)
        scale = self.groups / (self.groups - 1)
        return moved.mean(axis=1), np.sqrt(scale * np.maximum(squares, 0.0))


def draw_weights(rng: np.random.Generator, groups: int, resamples: int) -> Floats:
    """How often each group is in each bootstrap sample (R, G).

    Example:
        >>> draw_weights(np.random.default_rng(0), groups=3, resamples=2).sum(axis=1)
        array([3., 3.])
    """
    draws = rng.integers(0, groups, (resamples, groups)) + groups * np.arange(resamples)[:, None]
    return np.bincount(draws.ravel(), minlength=resamples * groups).reshape(resamples, groups).astype(float)


def _mean(sums: Floats, counts: Floats) -> Floats:
    mean: Floats = sums.sum(axis=-1) / counts.sum(axis=-1)
    return mean
