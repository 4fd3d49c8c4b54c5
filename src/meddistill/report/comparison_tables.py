"""The tables of a comparison: scores, paired tests, runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING
from urllib.parse import quote

from meddistill.evaluation.stars import stars
from meddistill.report.numbers import (
    ABSENT,
    duration,
    interval,
    magnitude,
    metric,
    metric_label,
    number,
    p_value,
    score,
    signed,
    signed_interval,
)
from meddistill.report.reading import to_number
from meddistill.report.tables import Cell, Column, Table
from meddistill.training.run_folder import RunFolder

if TYPE_CHECKING:
    from meddistill.evaluation.compare import Comparison, ComparisonRow, ComparisonTest

_WILCOXON = "Wilcoxon signed-rank test, adjusted for all tests of this metric"


@dataclass(frozen=True)
class ComparedRun:
    """One run behind a row of the comparison.

    Args:
        row: name of the row.
        seed: seed of the run.
        folder: its run folder; the page links to the report in it.
        seconds: training time, or None when unknown.
        parameters: parameters of the student, or None when unknown.
        macs: multiply-adds of the student for one image, or None when unknown.
        inference: seconds that the student takes for one image, or None when unknown.
    """

    row: str
    seed: int
    folder: Path
    seconds: float | None = None
    parameters: int | None = None
    macs: int | None = None
    inference: float | None = None


def against_baseline(comparison: Comparison) -> dict[tuple[str, str], ComparisonTest]:
    """The tests against the baseline, by row and metric."""
    return {(t.row, t.metric): t for t in comparison.tests if t.against == comparison.baseline}


def score_table(comparison: Comparison, runs: Sequence[ComparedRun]) -> Table:
    """One line a row: each metric with interval, spread over seeds and stars, then what the row costs."""
    cells = {(row.row, row.metric): row for row in comparison.rows}
    tests = against_baseline(comparison)
    columns = (
        Column("Row"),
        *(
            Column(metric_label(name, comparison.unit), metric(name).explanation, numeric=True)
            for name in comparison.metrics
        ),
        Column("Seeds", numeric=True),
        Column("Training time", "mean over seeds", numeric=True),
        Column("Parameters", "of the student", numeric=True),
    )
    rows = []
    for name in _row_names(comparison):
        scores = [
            _score_cell(cells[name, m], tests.get((name, m))) if (name, m) in cells else Cell(ABSENT)
            for m in comparison.metrics
        ]
        seeds = max(row.seeds for row in comparison.rows if row.row == name)
        label = f"{name} (baseline)" if name == comparison.baseline else name
        rows.append((Cell(label, name), *scores, Cell(str(seeds), seeds), *_cost_cells(name, runs)))
    return Table("Mean over test cases, with 95 % CI and spread over seeds", columns, tuple(rows))


def tests_table(comparison: Comparison) -> Table | None:
    """One line a paired test, or None when there is none."""
    if not comparison.tests:
        return None
    by_case = comparison.method == "wilcoxon"
    test = "sign-flip test" if by_case else "bootstrap test"
    columns = (
        Column("Row"),
        Column("Against"),
        Column("Metric"),
        Column("Difference", "mean of row minus other, on the same cases", numeric=True),
        Column("Holm p", f"{test}, adjusted for all tests of this metric", numeric=True),
        Column("p", f"{test}, two-sided, not adjusted", numeric=True),
        *([Column("Wilcoxon p", _WILCOXON, numeric=True)] if by_case else []),
        Column("Effect size", "rank-biserial correlation, −1 to 1", numeric=True),
        Column("Cases", "pairs of scores", numeric=True),
        Column("Reading"),
    )
    return Table(
        "Paired tests",
        columns,
        tuple(_test_cells(test, comparison.unit, by_case) for test in comparison.tests),
    )


def runs_table(runs: Sequence[ComparedRun], base: Path) -> Table | None:
    """One line a run, with a link from the folder `base` to its report; None without runs."""
    if not runs:
        return None
    columns = (
        Column("Row"),
        Column("Seed", numeric=True),
        Column("Training time", numeric=True),
        Column("Parameters", numeric=True),
        Column("Report"),
    )
    return Table("Runs", columns, tuple(_run_cells(run, base) for run in runs))


def _row_names(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(row.row for row in comparison.rows))


def _score_cell(row: ComparisonRow, test: ComparisonTest | None) -> Cell:
    spread = "" if to_number(row.seed_sd) is None else f"sd {score(row.seed_sd, row.metric)}, "
    range_ = interval({"low": row.low, "high": row.high}, row.metric)
    marks = stars(test.p_mean_holm) if test else ""
    if test and marks and not test.better:
        marks += " worse"
    over = interval({"low": row.seeds_low, "high": row.seeds_high}, row.metric)
    return Cell(
        score(row.mean, row.metric),
        to_number(row.mean),
        note=f"{range_}\n{spread}{row.cases} cases" + ("" if over == ABSENT else f"\nover seeds {over}"),
        stars=marks,
    )


def _cost_cells(row: str, runs: Sequence[ComparedRun]) -> tuple[Cell, Cell]:
    seconds = [run.seconds for run in runs if run.row == row and run.seconds is not None]
    parameters = [run.parameters for run in runs if run.row == row and run.parameters is not None]
    return (
        Cell(duration(fmean(seconds)), fmean(seconds)) if seconds else Cell(ABSENT),
        Cell(magnitude(parameters[0]), parameters[0]) if parameters else Cell(ABSENT),
    )


def reading(test: ComparisonTest) -> str:
    """What a test says of its row, in two words; with more where it holds for the seeds at hand only."""
    if not test.significant:
        return "no clear difference"
    word = "better" if test.better else "worse"
    return f"{word} with these seeds" if test.these_seeds_only else word


def _test_cells(test: ComparisonTest, unit: str, by_case: bool) -> tuple[Cell, ...]:
    ends = signed_interval(test.low, test.high, test.metric)
    if to_number(test.seeds_low) is not None:
        ends += f"\nover seeds {signed_interval(test.seeds_low, test.seeds_high, test.metric)}"
    return (
        Cell(test.row, test.row),
        Cell(test.against),
        Cell(metric_label(test.metric, unit)),
        Cell(signed(test.mean_difference, test.metric), to_number(test.mean_difference), note=ends),
        Cell(p_value(test.p_mean_holm), to_number(test.p_mean_holm), stars=stars(test.p_mean_holm)),
        _p_cell(test.p_mean),
        *([_p_cell(test.p_holm)] if by_case else []),
        Cell(number(test.effect_size, 2), to_number(test.effect_size)),
        Cell(number(test.cases, 0), test.cases),
        Cell(reading(test)),
    )


def _p_cell(p: float) -> Cell:
    return Cell(p_value(p), to_number(p))


def _run_cells(run: ComparedRun, base: Path) -> tuple[Cell, ...]:
    report = RunFolder(run.folder).report
    address = Path(os.path.relpath(report.resolve(), base.resolve())).as_posix()
    return (
        Cell(run.row, run.row),
        Cell(str(run.seed), run.seed),
        Cell(duration(run.seconds), run.seconds),
        Cell(number(run.parameters, 0), run.parameters),
        Cell(address, link=quote(address)) if report.exists() else Cell("not written", note=address),
    )
