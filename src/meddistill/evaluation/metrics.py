"""The scores a table can be summarised and compared by, with their direction and empty-mask policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from meddistill.errors import ConfigError, unknown_name
from meddistill.evaluation.table import ScoreTable

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One score.

    Args:
        title: how tables call it.
        higher_is_better: its direction.
        rows: gives its value for every row of a table, NaN where it is undefined.
        bounds: the lowest and highest value that it can have.
    """

    title: str
    higher_is_better: bool
    rows: Callable[[ScoreTable], Values]
    bounds: tuple[float, float] = (0.0, 1.0)


class CaseValues(NamedTuple):
    """One value per case, in the order in which the cases first appear.

    Args:
        cases: (N,) ids.
        groups: (N,) what must be resampled together.
        values: (N,) mean over the classes for which the score is defined, NaN where it is for none.
    """

    cases: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]
    values: Values


def metric(name: str) -> Metric:
    """The metric called `name`.

    Raises:
        ConfigError: there is none.

    Example:
        >>> metric("hd95").higher_is_better
        False
    """
    if name not in METRICS:
        raise ConfigError(unknown_name("metric", name, METRICS))
    return METRICS[name]


def case_values(table: ScoreTable, name: str) -> CaseValues:
    """One value per case of the metric `name`.

    Raises:
        ConfigError: there is no such metric.

    Example:
        >>> from meddistill.evaluation.table import COLUMNS
        >>> row = dict.fromkeys(COLUMNS, 0) | {"case": "a", "class": "kidney", "dice": 0.5}
        >>> table = ScoreTable.from_rows([row, row | {"class": "tumour", "dice": 0.7}])
        >>> case_values(table, "dice").values.tolist()
        [0.6]
    """
    values = metric(name).rows(table)
    cases, first, position = np.unique(table["case"], return_index=True, return_inverse=True)
    order = np.argsort(first)
    defined = ~np.isnan(values)
    totals = np.bincount(position[defined], weights=values[defined], minlength=len(cases))
    counts = np.bincount(position[defined], minlength=len(cases))
    means = np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)
    return CaseValues(cases[order], table["group"][first][order], means[order])


def nanmean(values: npt.NDArray[Any], axis: int | None = None) -> Values:
    """Mean of the numbers that are not NaN; NaN, without a warning, where there are none.

    Example:
        >>> nanmean(np.array([[1.0, np.nan], [np.nan, np.nan]]), axis=1)
        array([ 1., nan])
    """
    counts = np.sum(~np.isnan(values), axis=axis)
    mean: Values = np.where(counts > 0, np.nansum(values, axis=axis) / np.maximum(counts, 1), np.nan)
    return mean


def _column(name: str) -> Callable[[ScoreTable], Values]:
    return lambda table: table[name]


def _both_empty_1(table: ScoreTable) -> Values:
    return np.where(table["state"] == "both_empty", 1.0, table["dice"])


def _detected(table: ScoreTable) -> Values:
    return np.where(table["state"] == "ok", table["hd95"], np.nan)


def _relative(table: ScoreTable) -> Values:
    size: Values = np.abs(table["rvd"])
    return size


_FROM_0 = (0.0, np.inf)

METRICS: Mapping[str, Metric] = {
    "dice": Metric("Dice", True, _column("dice")),
    "dice_both_empty_1": Metric("Dice (both empty = 1)", True, _both_empty_1),
    "iou": Metric("IoU", True, _column("iou")),
    "precision": Metric("Precision", True, _column("precision")),
    "recall": Metric("Recall", True, _column("recall")),
    "hd95": Metric("HD95", False, _column("hd95"), _FROM_0),
    "hd95_detected": Metric("HD95 (detected)", False, _detected, _FROM_0),
    "asd": Metric("ASD", False, _column("asd"), _FROM_0),
    "nsd": Metric("NSD", True, _column("nsd")),
    "ece": Metric("ECE", False, _column("ece")),
    "nll": Metric("NLL", False, _column("nll"), _FROM_0),
    "brier": Metric("Brier", False, _column("brier"), (0.0, 2.0)),
    "ravd": Metric("RAVD", False, _relative, _FROM_0),
    "avd": Metric("AVD", False, _column("avd"), _FROM_0),
}
"""Every metric by name. The plain ones leave out what is both empty and charge a missed or invented structure
the worst overlap (0), also of surfaces (`nsd`), and the image diagonal; `dice_both_empty_1` counts both empty
as 1, as the released P-CD code does; `hd95_detected` looks only at structures both labelled and predicted.
`ravd` and `avd` belong to volumes: a missed structure has lost all of its volume, an invented one counts in
`avd` alone, because there is nothing that `ravd` could relate it to."""

OPTIONAL_METRICS = ("nsd", "ravd", "avd")
"""Metrics of `OPTIONAL_COLUMNS`; summaries leave them out where no case has one."""
