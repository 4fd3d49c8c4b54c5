"""Comparing runs case by case: means with intervals, spread over seeds, paired tests with Holm correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from meddistill.errors import RunError, unknown_name
from meddistill.evaluation.case_scores import ordered_values
from meddistill.evaluation.margin import MarginTest, margin_tests
from meddistill.evaluation.mean_interval import GroupSums
from meddistill.evaluation.metrics import CaseValues, Values, metric, nanmean
from meddistill.evaluation.seeds import half_width_of, half_widths, over_seeds, seed_parts
from meddistill.evaluation.statistics import holm, paired_test
from meddistill.evaluation.table import ScoreTable
from meddistill.files import csv_text

Run = ScoreTable | Path | str

SIGNIFICANT = 0.05
"""An adjusted p-value below this is read as a difference."""


@dataclass(frozen=True)
class ComparisonRow:
    """One metric of one row.

    Args:
        row: name of the row.
        metric: name of the metric.
        mean: mean over seeds of each run's own mean over the cases in which the metric is defined.
        low: lower end of its 95 % interval, over groups of cases.
        high: upper end.
        seed_sd: standard deviation of the seeds' own means; NaN with one seed.
        seeds: number of runs averaged.
        cases: cases in which the metric is defined for at least one seed.
        seeds_low: lower end of the 95 % interval over cases and seeds; NaN with one seed.
        seeds_high: its upper end.
        groups: groups of these cases; 0 when unknown.
    """

    row: str
    metric: str
    mean: float
    low: float
    high: float
    seed_sd: float
    seeds: int
    cases: int
    seeds_low: float = np.nan
    seeds_high: float = np.nan
    groups: int = 0


@dataclass(frozen=True)
class ComparisonTest:
    """A paired test of one row against another, on the cases in which both are defined for some seed.

    Args:
        row: the row under test.
        against: the row it is compared with.
        metric: name of the metric.
        mean_difference: mean of row - against.
        low: lower end of its 95 % interval.
        high: upper end.
        p_value: two-sided, of the comparison's `method` (Wilcoxon or bootstrap).
        p_holm: the same, adjusted for all tests of this metric in the comparison.
        effect_size: matched-pairs rank-biserial correlation, above 0 when the row tends to be larger; NaN for
            scores that single cases do not have.
        better: True when the difference points in the metric's good direction.
        cases: number of pairs.
        seeds_low: lower end of the difference's 95 % interval over cases and seeds; NaN with one seed.
        seeds_high: its upper end.
        p_sign_flip: two-sided paired permutation test of the mean difference; NaN for scores that single
            cases do not have.
        p_sign_flip_holm: the same, adjusted as `p_holm` is.
        groups: groups of these cases; 0 when unknown.
    """

    row: str
    against: str
    metric: str
    mean_difference: float
    low: float
    high: float
    p_value: float
    p_holm: float
    effect_size: float
    better: bool
    cases: int
    seeds_low: float = np.nan
    seeds_high: float = np.nan
    p_sign_flip: float = np.nan
    p_sign_flip_holm: float = np.nan
    groups: int = 0

    @property
    def p_mean(self) -> float:
        """Of the test that decides, which is of the mean difference: by sign flips, or else by `method`."""
        return self.p_value if np.isnan(self.p_sign_flip) else self.p_sign_flip

    @property
    def p_mean_holm(self) -> float:
        """The same, adjusted for all tests of this metric in the comparison."""
        return self.p_holm if np.isnan(self.p_sign_flip_holm) else self.p_sign_flip_holm

    @property
    def significant(self) -> bool:
        """Whether a difference is shown: `p_mean_holm` is below 0.05."""
        return self.p_mean_holm < SIGNIFICANT

    @property
    def these_seeds_only(self) -> bool:
        """Whether trainings with other seeds could give no difference: their interval holds 0."""
        return self.seeds_low <= 0 <= self.seeds_high


@dataclass(frozen=True)
class Comparison:
    """What was found: `rows` holds every metric of every row, `tests` every paired test.

    `method` is where `p_value` comes from: the Wilcoxon signed-rank test, case by case (`compare_runs`), or
    bootstrap samples of the whole set (`compare_answers`). `margins` judges the tests of the first metric by
    a margin, where one was given.
    """

    baseline: str
    metrics: tuple[str, ...]
    unit: str
    rows: tuple[ComparisonRow, ...]
    tests: tuple[ComparisonTest, ...]
    method: Literal["wilcoxon", "bootstrap"] = "wilcoxon"
    margins: tuple[MarginTest, ...] = ()

    def with_margin(self, margin: float) -> Self:
        """The same, and whether each row is not worse by more than `margin` in the first metric.

        Raises:
            ConfigError: the margin is not above 0.
        """
        from meddistill.evaluation.comparison_text import described

        name = self.metrics[0]
        tests = [test for test in self.tests if test.metric == name]
        return replace(self, margins=tuple(margin_tests(tests, margin, described(name).higher_is_better)))

    def to_markdown(self) -> str:
        """Two Markdown tables: the scores, and the tests."""
        from meddistill.evaluation.comparison_text import comparison_markdown

        return comparison_markdown(self)

    def to_latex(self) -> str:
        """Two LaTeX tables, the scores and the tests, for a document that uses the package booktabs."""
        from meddistill.evaluation.comparison_latex import comparison_latex

        return comparison_latex(self)

    def to_csv(self) -> str:
        """One CSV line per row and metric, with its test against the baseline where there is one."""
        tests = {(test.row, test.metric): test for test in self.tests if test.against == self.baseline}
        extra = {
            "mean_difference": "mean_difference",
            "difference_low": "low",
            "difference_high": "high",
            "p_value": "p_value",
            "p_holm": "p_holm",
            "effect_size": "effect_size",
            "difference_seeds_low": "seeds_low",
            "difference_seeds_high": "seeds_high",
            "p_sign_flip": "p_sign_flip",
            "p_sign_flip_holm": "p_sign_flip_holm",
        }
        rows = [(row, tests.get((row.row, row.metric))) for row in self.rows]
        return csv_text(
            [*ComparisonRow.__dataclass_fields__, *extra],
            (
                [*asdict(row).values(), *(getattr(test, name, "") for name in extra.values())]
                for row, test in rows
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain lists and numbers; write it with `meddistill.files.write_json`."""
        return asdict(self)


def compare_runs(
    runs: Mapping[str, Run | Sequence[Run]],
    *,
    baseline: str,
    metrics: Sequence[str] = ("dice", "iou", "hd95", "ece"),
    pairs: Literal["baseline", "all"] = "baseline",
    split: str = "test",
    seed: int = 0,
    resamples: int = 2000,
) -> Comparison:
    """Compare rows, each one run or the same training with several seeds, on the same cases.

    Seeds are not independent cases. A row's mean is the mean over its seeds of each run's own mean. Its
    interval resamples cases; a second one counts the seeds, too (`meddistill.evaluation.seeds`). A test takes
    one difference per case, the mean over seeds in which both runs have the metric; the n-th run of one row
    is paired with the n-th of the other when both have as many, so list the seeds in the same order.

    Args:
        runs: for each row name a score table or run folder, or a list of these with one per seed.
        baseline: the row that the others are tested against.
        metrics: names from `METRICS`.
        pairs: test every row against the baseline, or every pair of rows.
        split: which scores to read from run folders.
        seed: seed of the bootstrap.
        resamples: bootstrap samples of every interval.

    Raises:
        RunError: an unknown baseline, a row or folder without scores, or runs scored on different cases
            (the first ones are named).
        ConfigError: an unknown metric.

    Example:
        >>> from meddistill.evaluation.table import COLUMNS
        >>> row = dict.fromkeys(COLUMNS, 0) | {"class": "lesion", "state": "ok"}
        >>> def table(*dice):
        ...     return ScoreTable.from_rows(row | dict(case=n, group=n, dice=x) for n, x in enumerate(dice))
        >>> runs = {"IID": table(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), "KD": table(0.2, 0.4, 0.6, 0.8, 1.0, 0.9)}
        >>> [test] = compare_runs(runs, baseline="IID", metrics=["dice"]).tests
        >>> test.row, round(test.mean_difference, 2), round(test.p_holm, 3), test.better
        ('KD', 0.3, 0.031, True)
    """
    if baseline not in runs:
        raise RunError("baseline: " + unknown_name("row", baseline, runs))
    tables = {name: _tables(run, split) for name, run in runs.items()}
    unit = _check_same_cases(tables)
    options = {"seed": seed, "resamples": resamples}
    rows, tests = list[ComparisonRow](), list[ComparisonTest]()
    for name in metrics:
        seeds = {row: [ordered_values(table, name) for table in tables[row]] for row in runs}
        rows += [_row(row, name, seeds[row], options) for row in runs]
        tests += _tests(name, seeds, pairs_of(list(runs), baseline, pairs), options)
    return Comparison(baseline, tuple(metrics), unit, tuple(rows), tuple(tests))


def _tables(run: Run | Sequence[Run], split: str) -> list[ScoreTable]:
    from meddistill.training.run_folder import RunFolder

    if isinstance(run, ScoreTable):
        return [run]
    if isinstance(run, Path | str):
        return [ScoreTable.read_csv(RunFolder(Path(run)).scores(split))]
    return [table for single in run for table in _tables(single, split)]


def _check_same_cases(tables: Mapping[str, Sequence[ScoreTable]]) -> str:
    """The unit of distances, once it is sure that all runs have the same cases, classes and unit."""
    for name, seeds in tables.items():
        if not seeds:
            raise RunError(f"row {name} has no runs to compare")
    (first_name, (first, *_)), *_ = tables.items()
    expected = set(zip(first["case"].tolist(), first["class"].tolist(), strict=True))
    for name, seeds in tables.items():
        for table in seeds:
            found = set(zip(table["case"].tolist(), table["class"].tolist(), strict=True))
            different = sorted(expected ^ found)
            if different:
                shown = ", ".join(f"{case} ({label})" for case, label in different[:3])
                raise RunError(
                    f"rows {first_name} and {name} were scored on different cases, {len(different)} in all, "
                    f"first {shown}; evaluate both on the same split"
                )
            units = set(table["unit"].tolist()) | set(first["unit"].tolist())
            if len(units) > 1:
                raise RunError(
                    f"rows {first_name} and {name} have distances in different units: {sorted(units)}"
                )
    return str(first["unit"][0]) if len(first) else ""


def _stacked(seeds: Sequence[CaseValues]) -> Values:
    """Values as (seeds, cases)."""
    return np.stack([seed.values for seed in seeds])


def _row(row: str, name: str, seeds: Sequence[CaseValues], options: Mapping[str, Any]) -> ComparisonRow:
    """The mean over seeds of each run's mean.

    A normal image is undefined when left empty but 0 when not: averaging it over seeds first would let one
    false alarm outweigh the seeds that were right.
    """
    values = _stacked(seeds)
    data = GroupSums.of(values, seeds[0].groups)
    low, high = data.interval(bounds=metric(name).bounds, **options)
    means = nanmean(values, axis=1)
    mean = float(nanmean(means))
    seeds_low, seeds_high = over_seeds(mean, low, high, half_width_of(data))
    return ComparisonRow(
        row=row,
        metric=name,
        mean=mean,
        low=low,
        high=high,
        seed_sd=float(means.std(ddof=1)) if len(seeds) > 1 else np.nan,
        seeds=len(seeds),
        cases=int(np.sum(~np.isnan(values).all(axis=0))),
        seeds_low=seeds_low,
        seeds_high=seeds_high,
        groups=data.groups,
    )


def _differences(a: Sequence[CaseValues], b: Sequence[CaseValues]) -> Values:
    """A - b for each case, averaged over seeds; NaN where they are never both defined."""
    first, *others = (nanmean(part, axis=0) for part in seed_parts(_stacked(a), _stacked(b)))
    return first - others[0] if others else first


def pairs_of(rows: Sequence[str], baseline: str, pairs: str) -> list[tuple[str, str]]:
    """Which rows are tested against which: all against the baseline, or each against those before it.

    Example:
        >>> pairs_of(["iid", "kd", "pcd"], "iid", "all")
        [('kd', 'iid'), ('pcd', 'iid'), ('pcd', 'kd')]
    """
    if pairs == "baseline":
        return [(row, baseline) for row in rows if row != baseline]
    return [(row, other) for index, row in enumerate(rows) for other in rows[:index]]


def _tests(
    name: str,
    seeds: Mapping[str, Sequence[CaseValues]],
    pairs: Sequence[tuple[str, str]],
    options: Mapping[str, Any],
) -> list[ComparisonTest]:
    results, ends = [], []
    for a, b in pairs:
        differences = _differences(seeds[a], seeds[b])
        groups = seeds[a][0].groups
        found = paired_test(differences, np.zeros_like(differences), groups=groups, **options)
        results.append(found)
        halves = half_widths(_stacked(seeds[a]), _stacked(seeds[b]), groups)
        ends.append(over_seeds(found.mean_difference, found.low, found.high, *halves))
    adjusted = holm([result.p_value for result in results])
    flipped = holm([result.p_sign_flip for result in results])
    higher = metric(name).higher_is_better
    return [
        ComparisonTest(
            row=a,
            against=b,
            metric=name,
            p_holm=p_holm,
            better=result.mean_difference > 0 if higher else result.mean_difference < 0,
            seeds_low=seeds_low,
            seeds_high=seeds_high,
            p_sign_flip_holm=p_flip,
            **asdict(result),
        )
        for (a, b), result, (seeds_low, seeds_high), p_holm, p_flip in zip(
            pairs, results, ends, adjusted, flipped, strict=True
        )
    ]
