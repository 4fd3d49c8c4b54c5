"""Which rows rank alike over the cases: Friedman test and Nemenyi's critical difference.

Source: Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets" (JMLR 7, 2006), section 3.2,
with groups of cases in the place of his data sets: in each group the rows are ranked by their mean score,
best first, equal scores sharing their mean rank. The Friedman test in the form of Iman and Davenport asks
whether the mean ranks differ at all; if so, two rows differ where their mean ranks are a critical difference
apart. Ranks say how often a row wins, not by how much: read them beside the means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np
import numpy.typing as npt

from meddistill.errors import DataError
from meddistill.evaluation.case_scores import CaseScores
from meddistill.evaluation.statistics import holm

Floats = npt.NDArray[np.float64]

LEVEL = 0.05
"""Chance of finding a difference between rows that are alike."""


@dataclass(frozen=True)
class Ranks:
    """How the rows rank in one metric.

    Args:
        metric: name of the metric.
        baseline: the row that `p_holm` compares with.
        rows: names, best mean rank first.
        mean_ranks: of each row, 1 where it is best everywhere.
        p_holm: of each row against the baseline, by z of the difference in mean rank, Holm-adjusted; NaN for
            the baseline, and where the Friedman test finds no difference.
        p_friedman: that of the Friedman test of all rows (Iman and Davenport's F).
        groups: number of groups ranked: those in which every row has a score.
        critical_difference: Nemenyi's, at 0.05.
        alike: rows that are not told apart, each set as large as can be; none with one row.
    """

    metric: str
    baseline: str
    rows: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    p_holm: tuple[float, ...]
    p_friedman: float
    groups: int
    critical_difference: float
    alike: tuple[tuple[str, ...], ...]

    @property
    def differ(self) -> bool:
        """Whether the Friedman test finds that not all rows rank alike."""
        return self.p_friedman < LEVEL


def rank_rows(scores: CaseScores, baseline: str) -> Ranks | None:
    """Rank the rows of a comparison; None with fewer than three rows or two groups that all rows have.

    Example:
        >>> names, values = np.array(list("abcdefgh")), np.arange(8.0)[None]
        >>> rows = {"iid": values, "kd": values + 1, "pcd": values + 2}
        >>> found = rank_rows(CaseScores("dice", True, names, names, rows), "iid")
        >>> found.rows, found.mean_ranks, found.differ, found.alike
        (('pcd', 'kd', 'iid'), (1.0, 2.0, 3.0), True, (('pcd', 'kd'), ('kd', 'iid')))
    """
    blocks = _blocks(scores)
    if len(scores.rows) < 3 or blocks.shape[1] < 2:
        return None
    ranks = mean_ranks(blocks, higher_is_better=scores.higher_is_better)
    order = np.argsort(ranks, kind="stable")
    rows, sorted_ranks = [scores.rows[place] for place in order], ranks[order]
    distance = critical_difference(len(rows), blocks.shape[1])
    p_friedman = friedman_p(blocks)
    p_holm = _against(sorted_ranks, rows.index(baseline), blocks.shape[1])
    return Ranks(
        metric=scores.metric,
        baseline=baseline,
        rows=tuple(rows),
        mean_ranks=tuple(sorted_ranks.tolist()),
        p_holm=p_holm if p_friedman < LEVEL else (np.nan,) * len(rows),
        p_friedman=p_friedman,
        groups=blocks.shape[1],
        critical_difference=distance,
        alike=tuple(
            tuple(rows[first : last + 1])
            for first, last in alike(sorted_ranks, distance if p_friedman < LEVEL else np.inf)
        ),
    )


def mean_ranks(blocks: npt.ArrayLike, *, higher_is_better: bool = True) -> Floats:
    """(R,) mean rank of R rows over B blocks (R, B); 1 is best, equal scores share their mean rank.

    Example:
        >>> mean_ranks([[0.9, 0.8, 0.7], [0.5, 0.8, 0.9]]).tolist()
        [1.5, 1.5]
    """
    from scipy.stats import rankdata

    values = np.asarray(blocks, float)
    ranks: Floats = rankdata(-values if higher_is_better else values, axis=0)
    mean: Floats = ranks.mean(axis=1)
    return mean


def friedman_p(blocks: npt.ArrayLike) -> float:
    """The p-value of the Friedman test of R rows over B blocks (R, B), by F (Iman and Davenport 1980).

    Its F is unbounded where all blocks agree, so p is not below that of all orders being alike, R!^(1 - B).

    Raises:
        DataError: fewer than three rows or two blocks.

    Example:
        >>> round(friedman_p([[1, 2, 3, 4], [2, 3, 4, 3], [3, 4, 5, 6]]), 4)
        0.0066
    """
    from scipy.stats import f, friedmanchisquare

    values = np.asarray(blocks, float)
    if values.ndim != 2 or values.shape[0] < 3 or values.shape[1] < 2:
        raise DataError(f"the Friedman test needs three rows and two blocks, not {values.shape}")
    rows, count = values.shape
    if bool((values == values[0]).all()):
        return 1.0
    chi_square = float(friedmanchisquare(*values).statistic)
    rest = count * (rows - 1) - chi_square
    statistic = (count - 1) * chi_square / rest if rest > 1e-9 else np.inf
    least: float = float(factorial(rows)) ** (1 - count)
    return max(float(f.sf(statistic, rows - 1, (rows - 1) * (count - 1))), least)


def critical_difference(rows: int, blocks: int, level: float = LEVEL) -> float:
    """Nemenyi's critical difference: mean ranks farther apart differ, whichever pair is looked at.

    q sqrt(rows (rows + 1) / (6 blocks)) with q from the studentised range, divided by sqrt(2). Equal scores
    make ranks vary less than that, so that it errs on the side of "no difference".

    Example:
        >>> round(critical_difference(4, 14), 2)
        1.25
    """
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - level, rows, np.inf)) / 2**0.5
    return quantile * _standard_error(rows, blocks)


def alike(sorted_ranks: Sequence[float] | Floats, distance: float) -> list[tuple[int, int]]:
    """First and last position of each largest run of rising mean ranks that lie within `distance`.

    Example:
        >>> alike([1.0, 1.5, 2.2, 4.0], 1.0)
        [(0, 1), (1, 2)]
    """
    ranks = np.asarray(sorted_ranks, float)
    reach = np.searchsorted(ranks, ranks + distance, side="right") - 1
    runs = [(first, int(last)) for first, last in enumerate(reach) if last > first]
    return [run for place, run in enumerate(runs) if place == 0 or run[1] > runs[place - 1][1]]


def _blocks(scores: CaseScores) -> Floats:
    """(R, B) mean score of each row in each group, over the cases that all rows have."""
    complete = ~np.isnan(scores.means).any(axis=0)
    _, member = np.unique(scores.groups[complete], return_inverse=True)
    counts = np.bincount(member)
    sums = [np.bincount(member, weights=row) for row in scores.means[:, complete]]
    return np.array([row / counts for row in sums])


def _against(sorted_ranks: Floats, baseline: int, blocks: int) -> tuple[float, ...]:
    from scipy.stats import norm

    z = np.abs(sorted_ranks - sorted_ranks[baseline]) / _standard_error(len(sorted_ranks), blocks)
    p = 2 * norm.sf(z)
    p[baseline] = np.nan
    return tuple(holm(p.tolist()))


def _standard_error(rows: int, blocks: int) -> float:
    return float(np.sqrt(rows * (rows + 1) / (6 * blocks)))
