"""The score of every case in every row of a comparison: what ranks and subgroups start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from meddistill.evaluation.answers import AnswerTable
from meddistill.evaluation.class_metrics import CLASS_METRICS, class_metric
from meddistill.evaluation.measured import Measured
from meddistill.evaluation.metrics import METRICS, CaseValues, case_values, metric, nanmean
from meddistill.evaluation.table import ScoreTable

Floats = npt.NDArray[np.float64]
Tables = Mapping[str, Sequence[ScoreTable | AnswerTable]]
"""For each row the table of each of its seeds, all of one kind and with the same cases."""


@dataclass(frozen=True, eq=False)
class CaseScores:
    """One metric of N cases, in the order of their ids.

    Args:
        metric: its name.
        higher_is_better: its direction.
        cases: (N,) ids.
        groups: (N,) what must be kept together.
        values: for each row (S, N), the scores of its S seeds; NaN where the metric is undefined.
        bounds: the lowest and highest value that it can have.
    """

    metric: str
    higher_is_better: bool
    cases: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]
    values: Mapping[str, Floats]
    bounds: tuple[float, float] = (-np.inf, np.inf)

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows."""
        return tuple(self.values)

    @cached_property
    def means(self) -> Floats:
        """(R, N) mean over the seeds in which the metric is defined."""
        return np.stack([nanmean(seeds, axis=0) for seeds in self.values.values()])


def has_cases(name: str, tables: Tables) -> bool:
    """Whether single cases have the metric `name`; AUROC, for example, belongs to a set of images.

    Example:
        >>> has_cases("dice", {}), has_cases("auroc", {})
        (True, False)
    """
    if any(isinstance(table, AnswerTable) for seeds in tables.values() for table in seeds):
        return CLASS_METRICS[name].cases is not None
    return name in METRICS


def case_scores(tables: Tables, name: str) -> CaseScores:
    """The scores of all cases in the metric `name`.

    Args:
        tables: as `compare_runs` or `compare_answers` has accepted them.
        name: a metric that single cases have, see `has_cases`.

    Raises:
        ConfigError: there is no such metric.

    Example:
        >>> from meddistill.evaluation.table import COLUMNS
        >>> row = dict.fromkeys(COLUMNS, 0) | {"class": "lesion", "state": "ok"}
        >>> def table(*dice):
        ...     return ScoreTable.from_rows(row | dict(case=n, group=n, dice=x) for n, x in enumerate(dice))
        >>> scores = case_scores({"iid": [table(0.2, 0.4), table(0.4, 0.8)], "kd": [table(0.5, 0.5)]}, "dice")
        >>> scores.means.round(2).tolist()
        [[0.3, 0.6], [0.5, 0.5]]
    """
    found = {row: [ordered_values(table, name) for table in seeds] for row, seeds in tables.items()}
    first = next(iter(found.values()))[0]
    stacked = {row: np.stack([one.values for one in seeds]) for row, seeds in found.items()}
    of_images = isinstance(next(iter(tables.values()))[0], AnswerTable)
    known = class_metric(name) if of_images else metric(name)
    return CaseScores(name, known.higher_is_better, first.cases, first.groups, stacked, known.bounds)


def ordered_values(table: ScoreTable | AnswerTable, name: str) -> CaseValues:
    """The scores of the cases of one run in the order of their ids, the same for every run.

    Raises:
        ConfigError: there is no such metric.

    Example:
        >>> names = np.array(["b", "a"])
        >>> table = AnswerTable(names, names, names, np.array([0, 1]), np.eye(2)[[0, 0]], ("well", "sick"))
        >>> ordered_values(table, "accuracy").values.tolist()
        [0.0, 1.0]
    """
    if isinstance(table, AnswerTable):
        ordered = table.by_case()
        cases = class_metric(name).cases
        assert cases is not None, f"single images have no {name}"
        return CaseValues(ordered.cases, ordered.groups, cases(Measured(ordered)))
    found = case_values(table, name)
    order = np.argsort(found.cases, kind="stable")
    return CaseValues(found.cases[order], found.groups[order], found.values[order])
