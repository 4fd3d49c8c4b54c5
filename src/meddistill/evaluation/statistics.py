"""Confidence intervals and paired tests for per-case scores, with cases of one group kept together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from meddistill.errors import ConfigError, DataError, unknown_name
from meddistill.evaluation.chunks import chunks
from meddistill.evaluation.mean_interval import GroupSums
from meddistill.evaluation.permutation import sign_flip_p

Values = npt.NDArray[np.float64]
Statistic = Callable[[Values], Any]


def bootstrap_ci(
    values: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    statistic: Statistic = np.mean,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    method: Literal["bca", "percentile"] = "bca",
) -> tuple[float, float]:
    """Bootstrap confidence interval of a statistic; whole groups are resampled, never single cases of one.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), sections 13.3 (percentile) and 14.3
    (bias-corrected and accelerated, BCa), with groups as the sampling unit. Without groups it equals
    `scipy.stats.bootstrap` with the same generator.

    Args:
        values: (N,) scores; NaN is left out.
        groups: (N,) group of each score, for example the patient; None takes every score as its own group.
        statistic: maps an array (n,) to a number.
        level: coverage asked for, in (0, 1).
        resamples: number of bootstrap samples.
        seed: seed of the resampling.
        method: `"bca"` or `"percentile"`.

    Returns:
        (low, high); (nan, nan) with fewer than two groups or an infinite score.

    Raises:
        ConfigError: level, resamples or method out of range.
        DataError: values and groups differ in length.

    Example:
        >>> low, high = bootstrap_ci([0.7, 0.8, 0.9, 0.6, 0.8, 0.7])
        >>> round(low, 2), round(high, 2)
        (0.67, 0.83)
    """
    if method not in ("bca", "percentile"):
        raise ConfigError(unknown_name("bootstrap method", method, ("bca", "percentile")))
    if not 0 < level < 1 or resamples < 1:
        raise ConfigError(f"level {level} must be in (0, 1) and resamples {resamples} at least 1")
    members = _members(values, groups)
    if len(members) < 2 or not all(np.isfinite(member).all() for member in members):
        return np.nan, np.nan
    replicates = _replicates(members, statistic, resamples, seed)
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == "bca":
        observed = float(statistic(np.concatenate(members)))
        tails = bca_tails(tails, replicates, observed, _leave_one_out(members, statistic))
    low, high = np.quantile(replicates, tails)
    return float(low), float(high)


@dataclass(frozen=True)
class PairedTest:
    """How scores `a` differ from scores `b` of the same cases.

    Args:
        cases: pairs in which both scores are defined.
        mean_difference: mean of a - b over these pairs.
        low: lower end of its confidence interval.
        high: upper end of its confidence interval.
        p_value: two-sided Wilcoxon signed-rank test; NaN without a pair.
        effect_size: matched-pairs rank-biserial correlation in -1..1, above 0 when a tends to be larger.
        p_sign_flip: two-sided paired permutation test of the mean difference (`sign_flip_p`).
        groups: groups that the pairs belong to.
    """

    cases: int
    mean_difference: float
    low: float
    high: float
    p_value: float
    effect_size: float
    p_sign_flip: float = np.nan
    groups: int = 0


def paired_test(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedTest:
    """Compare two score lists of the same cases: Wilcoxon signed-rank test (1945) and sign-flip test.

    The first test and the effect size (Kerby, Comprehensive Psychology 2014) take one difference per group,
    the mean over its cases, because cases of one group are not independent. Zero differences are dropped;
    when all are zero p is 1 and the effect 0. The second takes the mean over cases, as the interval does.

    Args:
        a: (N,) scores; pairs with a NaN on either side are left out.
        b: (N,) scores in the same order.
        groups: (N,) group of each case; None takes every case as its own group.
        level: coverage of the interval of the mean difference (`mean_ci`).
        resamples: bootstrap samples for that interval.
        seed: seed of the resampling.

    Raises:
        ConfigError: level or resamples out of range.
        DataError: the lists differ in length.

    Example:
        >>> result = paired_test([0.8, 0.9, 0.7, 0.9, 0.6], [0.7, 0.7, 0.4, 0.5, 0.1])
        >>> round(result.mean_difference, 2), result.p_value, result.effect_size
        (0.3, 0.0625, 1.0)
    """
    first, second = np.asarray(a, float), np.asarray(b, float)
    if first.shape != second.shape:
        raise DataError(f"paired scores differ in length: {first.size} and {second.size}")
    differences = first - second
    members = _members(differences, groups)
    means = np.array([member.mean() for member in members])
    low, high = GroupSums.of(differences, groups).interval(level=level, resamples=resamples, seed=seed)
    cases = sum(map(len, members))
    return PairedTest(
        cases=cases,
        mean_difference=float(np.concatenate(members).mean()) if cases else np.nan,
        low=low,
        high=high,
        p_value=_signed_rank_p(means),
        effect_size=rank_biserial(means),
        p_sign_flip=sign_flip_p(differences, groups=groups, seed=seed),
        groups=len(members),
    )


def rank_biserial(differences: npt.ArrayLike) -> float:
    """Matched-pairs rank-biserial correlation: (W+ - W-) / (W+ + W-) of the signed ranks, zeros dropped.

    Returns:
        A number in -1..1; 0 when every difference is zero, NaN without any.

    Example:
        >>> rank_biserial([1.0, 2.0, -3.0])
        0.0
    """
    from scipy.stats import rankdata

    values = np.asarray(differences, float)
    if not values.size:
        return np.nan
    values = values[values != 0]
    ranks = rankdata(np.abs(values))
    return float(np.sum(np.sign(values) * ranks) / ranks.sum()) if values.size else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for making several tests at once (Holm, Scandinavian Journal of Statistics 1979).

    Args:
        p_values: one per test; NaN (no test was possible) stays NaN and does not count as a test.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted = np.full(len(p_values), np.nan)
    given = np.asarray(p_values, float)
    order = np.argsort(given)[: int(np.sum(~np.isnan(given)))]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1.0)
    return [float(p) for p in adjusted]


def _members(values: npt.ArrayLike, groups: npt.ArrayLike | None) -> list[Values]:
    """The defined values of each group, in the order in which the groups first appear."""
    array = np.asarray(values, float)
    names = np.arange(array.size) if groups is None else np.asarray(groups)
    if array.ndim != 1 or array.shape != names.shape:
        raise DataError(f"scores {array.shape} and groups {names.shape} must be lists of one length")
    defined = ~np.isnan(array)
    array, names = array[defined], names[defined]
    _, first, position = np.unique(names, return_index=True, return_inverse=True)
    by_group = np.split(array[np.argsort(position, kind="stable")], np.cumsum(np.bincount(position))[:-1])
    return [by_group[index] for index in np.argsort(first)]


def _replicates(members: list[Values], statistic: Statistic, resamples: int, seed: int) -> Values:
    rng = np.random.default_rng(seed)
    replicates = []
    for rows in chunks(resamples, len(members)):
        draws = rng.integers(0, len(members), (rows, len(members)))
        replicates.append(_evaluate(members, draws, statistic))
    return np.concatenate(replicates)


def _evaluate(members: list[Values], draws: npt.NDArray[np.int64], statistic: Statistic) -> Values:
    """The statistic of each row of drawn group numbers (R, G)."""
    if statistic is np.mean:
        sums = np.array([member.sum() for member in members])
        counts = np.array([len(member) for member in members])
        means: Values = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
        return means
    return np.array([statistic(np.concatenate([members[group] for group in draw])) for draw in draws])


def bca_tails(tails: Values, replicates: Values, observed: float, jackknife: Values) -> Values:
    """Tail probabilities after bias correction and acceleration.

    Args:
        tails: (2,) those of a plain percentile interval.
        replicates: (R,) the statistic of each bootstrap sample.
        observed: that of the data.
        jackknife: (G,) that of the data without each group in turn.
    """
    from scipy.special import ndtr, ndtri

    below = np.mean(replicates < observed) + np.mean(replicates == observed) / 2
    if not len(jackknife):
        return tails
    deviation = jackknife.mean() - jackknife
    largest = np.abs(deviation).max()
    if largest == 0 or not 0 < below < 1:
        return tails
    deviation = deviation / largest  # the acceleration has no unit; tiny scores must not underflow in it
    acceleration = np.sum(deviation**3) / (6 * np.sum(deviation**2) ** 1.5)
    bias = ndtri(below)
    shifted = bias + ndtri(tails)
    adjusted: Values = ndtr(bias + shifted / (1 - acceleration * shifted))
    return adjusted


def _leave_one_out(members: list[Values], statistic: Statistic) -> Values:
    """The statistic without each group in turn (G,)."""
    if statistic is np.mean:
        sums = np.array([member.sum() for member in members])
        counts = np.array([len(member) for member in members])
        means: Values = (sums.sum() - sums) / (counts.sum() - counts)
        return means
    rests = (members[:group] + members[group + 1 :] for group in range(len(members)))
    return np.array([statistic(np.concatenate(rest)) for rest in rests])


def _signed_rank_p(differences: Values) -> float:
    from scipy.stats import wilcoxon

    if not differences.size:
        return np.nan
    return float(wilcoxon(differences).pvalue) if np.any(differences != 0) else 1.0
