"""Comparing runs that answer once per image: scores of whole sets, and bootstrap tests of their differences.

Scores such as AUROC or F1 belong to a set of images and not to single ones, so that no test of paired cases
applies. Instead the same bootstrap samples (of groups, not images) are scored for both rows: the interval of
a difference is that of its samples, and its p-value twice the share of samples on the far side of 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from meddistill.errors import RunError, unknown_name
from meddistill.evaluation.answers import AnswerTable
from meddistill.evaluation.class_metrics import class_metric
from meddistill.evaluation.compare import Comparison, ComparisonRow, ComparisonTest, pairs_of
from meddistill.evaluation.measured import Measured
from meddistill.evaluation.metrics import nanmean
from meddistill.evaluation.resampling import Resampled, resample
from meddistill.evaluation.seeds import over_seeds, seed_half_width
from meddistill.evaluation.statistics import holm, rank_biserial

Floats = npt.NDArray[np.float64]
Run = AnswerTable | Path | str

ANSWER_METRICS = (
    "auroc", "average_precision", "balanced_accuracy", "accuracy", "f1_macro", "ece", "brier"
)  # fmt: skip
"""What a table of runs that answer once per image shows."""


def compare_answers(
    runs: Mapping[str, Run | Sequence[Run]],
    *,
    baseline: str,
    metrics: Sequence[str] = ANSWER_METRICS,
    pairs: Literal["baseline", "all"] = "baseline",
    split: str = "test",
    seed: int = 0,
    resamples: int = 2000,
) -> Comparison:
    """Compare rows of runs, each scored on the same images.

    Args:
        runs: for each row its run (folder or table), or the runs of all seeds. Rows with equally many seeds
            are compared seed by seed.
        baseline: the row that the others are tested against.
        metrics: names from `CLASS_METRICS`.
        pairs: test every row against the baseline, or every pair of rows.
        split: which answers to read from run folders.
        seed: of the bootstrap.
        resamples: bootstrap samples of all intervals.

    Raises:
        RunError: an unknown baseline, a row or folder without answers, or runs with different images, labels
            or classes.
        ConfigError: an unknown metric.

    Example:
        >>> names, truth = np.array(list("abcdefgh")), np.array([0, 1] * 4)
        >>> def table(sure):
        ...     sick = np.where(truth == 1, sure, 1 - np.array(sure))
        ...     both = np.stack([1 - sick, sick], 1)
        ...     return AnswerTable(names, names, names, truth, both, ("well", "sick"))
        >>> runs = {"alone": table([0.9, 0.2] * 4), "KD": table([0.9] * 8)}
        >>> [test] = compare_answers(runs, baseline="alone", metrics=["accuracy"], resamples=200).tests
        >>> test.row, test.mean_difference, test.better
        ('KD', 0.5, True)
    """
    if baseline not in runs:
        raise RunError("baseline: " + unknown_name("row", baseline, runs))
    for name in metrics:
        class_metric(name)
    tables = {name: [table.by_case() for table in _tables(run, split)] for name, run in runs.items()}
    first = _check_same_images(tables)
    rows = {name: [Measured(table) for table in seeds] for name, seeds in tables.items()}
    compared = _Compared(tuple(runs), rows, tuple(metrics))
    drawn = resample(compared.numbers, groups=first.groups, resamples=resamples, seed=seed, title="comparing")
    return Comparison(
        baseline,
        tuple(metrics),
        "",
        rows=tuple(compared.rows(drawn)),
        tests=tuple(compared.tests(drawn, pairs_of(list(runs), baseline, pairs))),
        method="bootstrap",
    )


@dataclass(frozen=True)
class _Compared:
    """Rows of runs ready to be scored under any weights of the images."""

    names: tuple[str, ...]
    runs: Mapping[str, Sequence[Measured]]
    metrics: tuple[str, ...]

    def numbers(self, weights: Floats) -> Floats:
        """(R, rows * seeds * metrics): every score of every run, for weights (R, N)."""
        scores = [
            class_metric(name).of(run, weights)
            for row in self.names
            for run in self.runs[row]
            for name in self.metrics
        ]
        return np.stack(scores, axis=-1)

    def _seeds(self, numbers: Floats, row: str) -> Floats:
        """The scores (..., seeds, metrics) of a row among all numbers (..., :)."""
        before = sum(len(self.runs[name]) for name in self.names[: self.names.index(row)])
        count, width = len(self.runs[row]), len(self.metrics)
        part = numbers[..., before * width : (before + count) * width]
        return part.reshape(*numbers.shape[:-1], count, width)

    def _mean(self, numbers: Floats, row: str) -> Floats:
        return nanmean(self._seeds(numbers, row), axis=-2)

    def _difference(self, numbers: Floats, row: str, other: str) -> Floats:
        a, b = self._seeds(numbers, row), self._seeds(numbers, other)
        if a.shape == b.shape:
            return nanmean(a - b, axis=-2)
        return nanmean(a, axis=-2) - nanmean(b, axis=-2)

    def _half_widths(self, drawn: Resampled, row: str, other: str | None = None) -> list[Floats]:
        """Of each metric over trainings: of a row, of paired runs' differences, or of two rows."""
        if other is None:
            return [_half_widths(drawn.map(lambda numbers: self._seeds(numbers, row)))]
        if len(self.runs[row]) != len(self.runs[other]):
            return self._half_widths(drawn, row) + self._half_widths(drawn, other)
        paired = drawn.map(lambda numbers: self._seeds(numbers, row) - self._seeds(numbers, other))
        return [_half_widths(paired)]

    def rows(self, drawn: Resampled) -> list[ComparisonRow]:
        """Every metric of every row."""
        found = []
        for row in self.names:
            mean = drawn.map(lambda numbers, row=row: self._mean(numbers, row))  # type: ignore[misc]
            low, high = mean.intervals()
            half = self._half_widths(drawn, row)
            seeds = self._seeds(drawn.observed, row)
            for position, name in enumerate(self.metrics):
                column = seeds[:, position]
                value, ends = float(mean.observed[position]), (float(low[position]), float(high[position]))
                seeds_low, seeds_high = over_seeds(value, *ends, *(part[position] for part in half))
                found.append(
                    ComparisonRow(
                        row=row,
                        metric=name,
                        mean=value,
                        low=ends[0],
                        high=ends[1],
                        seed_sd=float(column.std(ddof=1)) if len(column) > 1 else np.nan,
                        seeds=len(column),
                        cases=self._cases(row),
                        seeds_low=seeds_low,
                        seeds_high=seeds_high,
                        groups=self._groups(row),
                    )
                )
        return sorted(found, key=lambda row: self.metrics.index(row.metric))

    def tests(self, drawn: Resampled, pairs: Sequence[tuple[str, str]]) -> list[ComparisonTest]:
        """Every paired test, metric by metric."""
        differences = {
            pair: drawn.map(lambda numbers, pair=pair: self._difference(numbers, *pair))  # type: ignore[misc]
            for pair in pairs
        }
        intervals = {pair: found.intervals() for pair, found in differences.items()}
        halves = {pair: self._half_widths(drawn, *pair) for pair in pairs}
        p_values = {pair: found.p_values() for pair, found in differences.items()}
        tests = []
        for position, name in enumerate(self.metrics):
            adjusted = holm([float(p_values[pair][position]) for pair in pairs])
            for pair, p_holm in zip(pairs, adjusted, strict=True):
                mean = float(differences[pair].observed[position])
                low, high = (float(end[position]) for end in intervals[pair])
                seeds_low, seeds_high = over_seeds(
                    mean, low, high, *(part[position] for part in halves[pair])
                )
                tests.append(
                    ComparisonTest(
                        row=pair[0],
                        against=pair[1],
                        metric=name,
                        mean_difference=mean,
                        low=low,
                        high=high,
                        p_value=float(p_values[pair][position]),
                        p_holm=p_holm,
                        effect_size=self._effect(name, *pair),
                        better=mean > 0 if class_metric(name).higher_is_better else mean < 0,
                        cases=self._cases(pair[0]),
                        seeds_low=seeds_low,
                        seeds_high=seeds_high,
                        groups=self._groups(pair[0]),
                    )
                )
        return tests

    def _cases(self, row: str) -> int:
        return int(_known(self.runs[row][0].table).sum())

    def _groups(self, row: str) -> int:
        table = self.runs[row][0].table
        return len(np.unique(table.groups[_known(table)]))

    def _effect(self, name: str, row: str, other: str) -> float:
        """Rank-biserial correlation of the groups' means, for scores that single images have; else NaN."""
        cases = class_metric(name).cases
        if cases is None:
            return float("nan")
        a, b = (nanmean(np.stack([cases(run) for run in self.runs[r]]), axis=0) for r in (row, other))
        _, member = np.unique(self.runs[row][0].table.groups, return_inverse=True)
        known = ~np.isnan(a - b)
        sums = np.bincount(member[known], weights=(a - b)[known])
        counts = np.bincount(member[known])
        return rank_biserial(sums[counts > 0] / counts[counts > 0])


def _half_widths(runs: Resampled) -> Floats:
    """(M,) over trainings, from scores (S, M) of the runs of all seeds."""
    left = runs.jackknife
    return np.array(
        [
            seed_half_width(column, None if left is None else left[..., position].T)
            for position, column in enumerate(runs.observed.T)
        ]
    )


def _known(table: AnswerTable) -> npt.NDArray[np.bool_]:
    """(N,) which images have a label."""
    return np.asarray(table.known.reshape(len(table), -1).any(axis=1))


def _tables(run: Run | Sequence[Run], split: str) -> list[AnswerTable]:
    from meddistill.training.run_folder import RunFolder

    if isinstance(run, AnswerTable):
        return [run]
    if isinstance(run, Path | str):
        return [AnswerTable.read_csv(RunFolder(Path(run)).scores(split))]
    return [table for single in run for table in _tables(single, split)]


def _check_same_images(tables: Mapping[str, Sequence[AnswerTable]]) -> AnswerTable:
    """The first table, once it is sure that all have the same images, labels and classes."""
    for name, seeds in tables.items():
        if not seeds:
            raise RunError(f"row {name} has no runs to compare")
    (first_name, (first, *_)), *_ = tables.items()
    for name, seeds in tables.items():
        for table in seeds:
            if table.class_names != first.class_names or table.task != first.task:
                raise RunError(
                    f"rows {first_name} and {name} have other classes: {', '.join(first.class_names)} and "
                    f"{', '.join(table.class_names)}; compare runs of one task"
                )
            different = sorted(set(first.cases.tolist()) ^ set(table.cases.tolist()))
            if different:
                raise RunError(
                    f"rows {first_name} and {name} were scored on different images, {len(different)} in all, "
                    f"first {', '.join(different[:3])}; evaluate both on the same split"
                )
            if not np.array_equal(first.labels, table.labels):
                raise RunError(
                    f"rows {first_name} and {name} were scored against different labels; evaluate both again "
                    "with the same data"
                )
    return first
