"""Tables of a student's uncertainty: how honest its probabilities are, and what referring cases brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meddistill.report.numbers import ABSENT, interval, metric, number
from meddistill.report.reading import to_number
from meddistill.report.tables import Cell, Column, Table
from meddistill.report.verdict import mapping

_HONESTY = {
    "ece": "expected calibration error, ten equal bins",
    "adaptive_ece": "the same with bins that hold equally many predictions",
    "classwise_ece": "mean over the classes of how far their probabilities are from their shares",
    "brier": "squared error of the probabilities",
    "nll": "negative log-likelihood of the truth",
}
_WORTH = {
    "auroc": "how often an error is less certain than a right answer, 0.5 by chance",
    "aupr": "average precision of errors, by chance their share",
    "aurc": "mean risk over all shares that may be kept; lower is better",
    "excess_aurc": "by how much that is more than with the best order; lower is better",
    "error_rate": "share of errors",
}
_TITLES = {
    "auroc": "AUROC", "aupr": "AUPR", "aurc": "AURC", "excess_aurc": "Excess AURC", "error_rate": "Errors",
    "adaptive_ece": "Adaptive ECE", "classwise_ece": "Class-wise ECE",
}  # fmt: skip


def honesty_table(found: Mapping[str, Any]) -> Table:
    """Calibration errors and proper scores, as trained and calibrated.

    Args:
        found: what `assess` returns.
    """
    before = mapping(found.get("uncalibrated"))
    after = mapping(mapping(found.get("calibration")).get("calibrated"))
    columns = [Column("Measure"), Column("As trained", numeric=True)]
    columns += [Column("Calibrated", numeric=True)] if after else []
    rows = [
        (
            Cell(_title(name), name, note=meaning),
            *(_number(part.get(name)) for part in (before, after) if part),
        )
        for name, meaning in _HONESTY.items()
        if name in before
    ]
    caption = f"Calibration over all {noun_of(found)}; lower is better"
    return Table(caption, tuple(columns), tuple(rows))


def worth_table(found: Mapping[str, Any]) -> Table:
    """Whether uncertainty finds errors, a row for each measure and kind of answer.

    Args:
        found: what `assess` returns.
    """
    columns = (Column("Uncertainty"), *(Column(_title(n), text, numeric=True) for n, text in _WORTH.items()))
    rows = [
        (
            Cell(f"{measure}, by {of.removesuffix('s')}", measure),
            *(_estimate(mapping(numbers.get(n))) for n in _WORTH),
        )
        for measure, both in measures_of(found).items()
        for of, numbers in both.items()
        if "auroc" in numbers
    ]
    return Table("Does uncertainty find the errors?", columns, tuple(rows))


def referral_table(found: Mapping[str, Any]) -> Table:
    """The score of the rest for each share that is referred, one column for each order.

    Args:
        found: what `assess` returns.
    """
    orders = {
        f"{measure}, {_of(found, of)}": numbers.get("refer") or []
        for measure, both in measures_of(found).items()
        for of, numbers in both.items()
    }
    shares = [row["share"] for row in next(iter(orders.values()), [])]
    rows = [
        (
            Cell(f"{share:.0%}".replace("%", " %"), share),
            *(_estimate(refer[position]) for refer in orders.values()),
        )
        for position, share in enumerate(shares)
    ]
    columns = (Column("Referred", numeric=True), *(Column(name, numeric=True) for name in orders))
    return Table("Score of the rest when the least certain are referred", columns, tuple(rows))


def measures_of(found: Mapping[str, Any]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """What each measure is worth, by case and by pixel; the leading measure first."""
    measures = mapping(found.get("measures")).items()
    return {name: {of: mapping(part) for of, part in mapping(both).items()} for name, both in measures}


def _of(found: Mapping[str, Any], of: str) -> str:
    return "accuracy of pixels" if of == "pixels" else f"{score_name(found)} of cases"


def score_name(found: Mapping[str, Any]) -> str:
    """What cases are scored by."""
    return "Dice" if found.get("task") == "segmentation" else "accuracy"


def noun_of(found: Mapping[str, Any]) -> str:
    """What probabilities are about."""
    return "pixels" if found.get("task") == "segmentation" else "answers"


def _title(name: str) -> str:
    return _TITLES.get(name) or metric(name).label


def _estimate(estimate: Mapping[str, Any]) -> Cell:
    """A mean with its interval."""
    range_ = interval(estimate, "ece")
    return _number(estimate.get("mean"), "" if range_ == ABSENT else range_)


def _number(value: Any, note: str = "") -> Cell:
    return Cell(number(value, 4), to_number(value), note=note)
