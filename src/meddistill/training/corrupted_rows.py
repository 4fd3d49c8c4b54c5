"""What is kept of a sweep while it goes on: a number for each case and point, and its curves."""

from __future__ import annotations

from typing import Any

import numpy as np

from meddistill.errors import RunError
from meddistill.evaluation import AnswerTable, ScoreTable, mean_ci, summarise
from meddistill.evaluation.answer_comparison import ANSWER_METRICS
from meddistill.evaluation.class_metrics import class_metric
from meddistill.evaluation.corrupted import Floats, Point, PointScores, headline, summarise_corruptions
from meddistill.evaluation.corrupted_means import Robustness
from meddistill.evaluation.measured import Measured
from meddistill.evaluation.metrics import CaseValues

Table = ScoreTable | AnswerTable


class CorruptedRows:
    """Scores of single cases, run by run and point by point.

    Example:
        >>> rows = CorruptedRows()
        >>> names = np.array(["a", "b"])
        >>> table = AnswerTable(names, names, names, np.array([0, 1]), np.eye(2), ("healthy", "sick"))
        >>> for point in (("clean", 0), ("fog", 1)):
        ...     rows.add("kd", "kd-s0", point, table)
        >>> rows.summarise().relative
        {'kd': 1.0}
    """

    def __init__(self) -> None:
        self._metric = ""
        self._first: tuple[str, CaseValues] | None = None
        self._rows: dict[str, dict[str, dict[Point, Floats]]] = {}

    def add(self, row: str, run: str, point: Point, table: Table) -> None:
        """Keep the score of each case of a run at a point.

        Raises:
            RunError: another run was scored on other cases.
        """
        self._metric, found = headline(table)
        other, first = self._first = self._first or (run, found)
        if not np.array_equal(first.cases, found.cases):
            raise RunError(f"{other} and {run} were scored on different cases; give runs of one split")
        self._rows.setdefault(row, {}).setdefault(run, {})[point] = found.values

    def summarise(self) -> Robustness:
        """Means, intervals and differences from the first row."""
        assert self._first is not None
        groups = self._first[1].groups
        rows = {
            row: PointScores(
                {point: np.stack([run[point] for run in runs.values()]) for point in _points(runs)}, groups
            )
            for row, runs in self._rows.items()
        }
        return summarise_corruptions(rows, self._metric)


def estimates(table: Table, *, seed: int) -> dict[str, dict[str, Any]]:
    """`mean`, `low` and `high` of the scores of a table, by name.

    Of answers about whole images only scores that single images have get an interval here: the bootstrap of
    the others would take longer than the sweep.
    """
    if isinstance(table, ScoreTable):
        metrics: dict[str, dict[str, Any]] = summarise(table, seed=seed)["metrics"]
        return metrics
    measured = Measured(table)
    return {name: _answered(name, measured, seed) for name in ANSWER_METRICS}


def _answered(name: str, measured: Measured, seed: int) -> dict[str, Any]:
    metric = class_metric(name)
    ends: tuple[float | None, float | None] = (None, None)
    if metric.cases is not None:
        groups = measured.table.groups
        ends = mean_ci(metric.cases(measured), groups=groups, seed=seed, bounds=metric.bounds)
    mean = float(metric.of(measured, measured.ones))
    return {"mean": mean, "low": ends[0], "high": ends[1]}


def _points(runs: dict[str, dict[Point, Floats]]) -> list[Point]:
    return list(next(iter(runs.values())))
