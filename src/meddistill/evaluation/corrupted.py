"""How scores hold out under corruptions: means over kinds and severities with intervals, and differences.

The score is Dice, or accuracy of runs that answer once per image. Its mean over kinds is the mean of each
kind's own mean over the cases in which it is defined, as `compare_runs` takes the mean over seeds. The mean
corruption error follows Hendrycks and Dietterich, "Benchmarking neural network robustness to common
corruptions and perturbations" (ICLR 2019), section 4.1, with 1 - score as the error and the first row in the
place of AlexNet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from meddistill.errors import RunError
from meddistill.evaluation.answers import AnswerTable
from meddistill.evaluation.case_scores import ordered_values
from meddistill.evaluation.corrupted_means import CLEAN, EVERY, CorruptedMean, Robustness
from meddistill.evaluation.mean_interval import GroupSums
from meddistill.evaluation.metrics import CaseValues, nanmean
from meddistill.evaluation.seeds import half_width_of, half_widths, over_seeds, seed_parts
from meddistill.evaluation.statistics import holm, paired_test
from meddistill.evaluation.table import ScoreTable

Floats = npt.NDArray[np.float64]

Point = tuple[str, int]
"""A kind and a severity; `CLEAN` and 0 for the images as they are."""


@dataclass(frozen=True)
class PointScores:
    """Scores of single cases of the runs of one row.

    Args:
        values: for each point (S, N) scores of S seeds; NaN where undefined.
        groups: (N,) group of each case.
    """

    values: Mapping[Point, Floats]
    groups: npt.NDArray[np.str_]

    def influence(self, points: Sequence[Point]) -> Floats:
        """(S, N) what each case stands for in the mean over points; see `linear_values`."""
        seeds = len(self.values[points[0]])
        stacked = [np.stack([self.values[point][seed] for point in points]) for seed in range(seeds)]
        return np.stack([linear_values(values) for values in stacked])


def headline(table: ScoreTable | AnswerTable) -> tuple[str, CaseValues]:
    """The name of the score of a table, and its value for each case in the order of the ids."""
    name = "dice" if isinstance(table, ScoreTable) else "accuracy"
    return name, ordered_values(table, name)


def linear_values(values: Floats) -> Floats:
    """One value for each case whose mean is the mean over rows of each row's mean over its defined values.

    Where every value is defined it is the case's own mean. An undefined value moves no mean, the others of
    its row move it by more (the influence function of a mean of ratios; Davison and Hinkley, Bootstrap
    Methods and their Application, 1997, section 2.7). Rows without a value are left out.

    Args:
        values: (R, N), NaN where undefined.

    Returns:
        (N,); NaN throughout where nothing is defined.

    Example:
        >>> linear_values(np.array([[0.2, 0.4], [0.6, 0.8]])).round(3).tolist()
        [0.4, 0.6]
        >>> linear_values(np.array([[0.2, 0.4, 0.6], [0.5, np.nan, np.nan]])).mean().round(3)
        np.float64(0.45)
    """
    defined = ~np.isnan(values)
    counts = defined.sum(axis=1)
    if not counts.any():
        return np.full(values.shape[1], np.nan)
    kept, counts = values[counts > 0], counts[counts > 0]
    means = nanmean(kept, axis=1)
    moved = np.nan_to_num(kept - means[:, None]) * (values.shape[1] / counts)[:, None]
    found: Floats = means.mean() + moved.mean(axis=0)
    return found


def summarise_corruptions(rows: Mapping[str, PointScores], metric: str, *, seed: int = 0) -> Robustness:
    """Means, intervals and differences from the first row.

    Args:
        rows: scores of each row, all at the same points.
        metric: name of the score.
        seed: of the bootstrap.

    Raises:
        RunError: rows that were scored on different cases.
    """
    baseline, first = next(iter(rows.items()))
    for name, other in rows.items():
        if not np.array_equal(other.groups, first.groups):
            raise RunError(
                f"rows {baseline} and {name} were scored on different cases; give runs of one split"
            )
    points = [point for point in first.values if point[0] != CLEAN]
    kinds = tuple(dict.fromkeys(kind for kind, _ in points))
    severities = tuple(dict.fromkeys(severity for _, severity in points))
    places = {(CLEAN, 0): [(CLEAN, 0)], (EVERY, None): points}
    places |= {(EVERY, severity): [p for p in points if p[1] == severity] for severity in severities}
    places |= {(kind, None): [p for p in points if p[0] == kind] for kind in kinds}
    means = [
        mean
        for (kind, severity), covered in places.items()
        for mean in _means(rows, covered, (kind, severity), seed)
    ]
    relative, errors = _relative(means, rows), _errors(means, rows)
    return Robustness(metric, baseline, tuple(rows), kinds, severities, tuple(means), relative, errors)


def _means(
    rows: Mapping[str, PointScores], points: Sequence[Point], place: tuple[str, int | None], seed: int
) -> list[CorruptedMean]:
    """The mean over some points of every row, and its difference from the first row's."""
    parts = {row: scores.influence(points) for row, scores in rows.items()}
    groups = next(iter(rows.values())).groups
    baseline = next(iter(parts))
    alone = {row: _alone(row, place, part, groups, seed) for row, part in parts.items()}
    for row in list(parts)[1:]:
        alone[row] = _compared(alone[row], parts[row], parts[baseline], groups, seed)
    adjusted = holm([mean.p_value for mean in list(alone.values())[1:]])
    tested = zip(list(alone.values())[1:], adjusted, strict=True)
    return [alone[baseline], *(replace(mean, p_holm=p) for mean, p in tested)]


def _alone(
    row: str, place: tuple[str, int | None], values: Floats, groups: npt.NDArray[np.str_], seed: int
) -> CorruptedMean:
    data = GroupSums.of(values, groups)
    low, high = data.interval(bounds=(0.0, 1.0), seed=seed)
    mean = float(nanmean(values))
    seeds_low, seeds_high = over_seeds(mean, low, high, half_width_of(data))
    return CorruptedMean(row, *place, mean, low, high, seeds_low, seeds_high)


def _compared(
    mean: CorruptedMean, values: Floats, baseline: Floats, groups: npt.NDArray[np.str_], seed: int
) -> CorruptedMean:
    """The mean with its difference from the baseline; rows of as many seeds are paired seed by seed."""
    first, *others = (part.mean(axis=0) for part in seed_parts(values, baseline))
    differences = first - others[0] if others else first
    found = paired_test(differences, np.zeros_like(differences), groups=groups, seed=seed)
    ends = (found.mean_difference, found.low, found.high)
    seeds_low, seeds_high = over_seeds(*ends, *half_widths(values, baseline, groups))
    return replace(
        mean,
        difference=found.mean_difference,
        difference_low=found.low,
        difference_high=found.high,
        difference_seeds_low=seeds_low,
        difference_seeds_high=seeds_high,
        p_value=found.p_sign_flip,
    )


def _relative(means: Sequence[CorruptedMean], rows: Iterable[str]) -> dict[str, float]:
    """The mean over all corruptions as a share of the score without them; NaN where that is 0."""
    clean = {mean.row: mean.mean for mean in means if mean.kind == CLEAN}
    every = {mean.row: mean.mean for mean in means if (mean.kind, mean.severity) == (EVERY, None)}
    return {row: _ratio(every[row], clean[row]) for row in rows}


def _errors(means: Sequence[CorruptedMean], rows: Iterable[str]) -> dict[str, float]:
    """The mean over kinds of a row's summed error as a share of the first row's."""
    names = list(rows)
    errors = {
        row: {m.kind: 1 - m.mean for m in means if m.row == row and m.kind not in (CLEAN, EVERY)}
        for row in names
    }
    first = errors[names[0]]
    return {
        row: float(np.mean([_ratio(own[kind], first[kind]) for kind in first])) for row, own in errors.items()
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else np.nan
