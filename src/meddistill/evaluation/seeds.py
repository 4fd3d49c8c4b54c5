"""From an interval over cases to one over cases and trainings, for rows that were trained with several seeds.

An interval over cases says what other cases would give with the same networks. Another training would give
other networks, and the difference between seeds shows by how much. Resampling three seeds shows too little of
it: their spread comes out a third too small, and nothing accounts for how uncertain a spread of three numbers
is. Student's t does, so the two parts are put together as in Zou and Donner, Statistics in Medicine 2008
(MOVER): the squared distances of both limits from the mean add up. docs/results/coverage.md shows what this
covers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from meddistill.evaluation.mean_interval import GroupSums

Floats = npt.NDArray[np.float64]


def seed_half_width(runs: Floats, leave_one_out: Floats | None = None, *, level: float = 0.95) -> float:
    """Half the width of the interval of a row's score over trainings.

    Runs that are equally good still differ on a finite set of cases. That part is in the interval over cases
    already and is taken off here: the variance, over groups, of what moves one run and not all of them.

    Args:
        runs: (S,) score of the run of each seed.
        leave_one_out: (S, G) the same without each group of cases in turn; None takes nothing off, which is
            right for many cases and else too wide.
        level: coverage asked for, in (0, 1).

    Returns:
        Student's t with S - 1 degrees of freedom times the standard error; NaN with fewer than two runs.

    Example:
        >>> round(seed_half_width(np.array([0.80, 0.81, 0.82])), 3)
        0.025
        >>> seed_half_width(np.array([0.80]))
        nan
    """
    from scipy.stats import t

    if len(runs) < 2:
        return np.nan
    variance = runs.var(ddof=1) - _variance_by_cases(leave_one_out)
    return float(t.ppf((1 + level) / 2, len(runs) - 1) * np.sqrt(max(variance, 0.0) / len(runs)))


def half_width_of(data: GroupSums) -> float:
    """`seed_half_width` of the runs that the sums are of; NaN where there are too few groups of cases."""
    return seed_half_width(data.means, data.leave_one_out) if data.has_interval else np.nan


def seed_parts(first: Floats, second: Floats) -> list[Floats]:
    """What varies from training to training in the difference of two rows (S, N).

    It is the difference of the paired runs, seed by seed, or each row where the seeds cannot be paired.

    Example:
        >>> one, two = np.zeros((1, 3)), np.ones((2, 3))
        >>> len(seed_parts(two, two)), len(seed_parts(one, two))
        (1, 2)
    """
    return [first - second] if len(first) == len(second) else [first, second]


def half_widths(first: Floats, second: Floats, groups: npt.NDArray[np.str_]) -> list[float]:
    """Half the width of the interval over trainings of each of the `seed_parts`; for `over_seeds`."""
    return [half_width_of(GroupSums.of(part, groups)) for part in seed_parts(first, second)]


def over_seeds(value: float, low: float, high: float, *half_widths: float) -> tuple[float, float]:
    """Widen the interval over cases by those over trainings: one of a row, or of each of two rows.

    Returns:
        (low, high); (nan, nan) where one of the parts is not known.

    Example:
        >>> low, high = over_seeds(0.8, 0.77, 0.83, 0.04)
        >>> round(low, 4), round(high, 4)
        (0.75, 0.85)
    """
    spread = np.hypot.reduce(half_widths)
    if np.isnan([spread, low, high]).any():
        return np.nan, np.nan
    return float(value - np.hypot(value - low, spread)), float(value + np.hypot(high - value, spread))


def _variance_by_cases(leave_one_out: Floats | None) -> float:
    """Variance of a run's score that comes from cases which are hard for this run alone."""
    if leave_one_out is None or leave_one_out.shape[1] < 2:
        return 0.0
    runs, groups = leave_one_out.shape
    moved = leave_one_out - leave_one_out.mean(axis=1, keepdims=True)
    alone = moved - moved.mean(axis=0)
    return float((groups - 1) / groups * np.sum(alone**2) / (runs - 1))
