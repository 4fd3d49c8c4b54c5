"""How the report writes numbers, and what it says of each metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meddistill.report.reading import to_number

ABSENT = "–"
"""Shown where a number is not defined."""


@dataclass(frozen=True)
class Metric:
    """How one metric is named, explained and rounded; `higher` is True when more is better, None when neither."""

    label: str
    meaning: str
    digits: int = 3
    higher: bool | None = True

    @property
    def direction(self) -> str:
        """`higher is better`, `lower is better`, or nothing."""
        return {True: "higher is better", False: "lower is better", None: ""}[self.higher]


METRICS: Mapping[str, Metric] = {
    "dice": Metric("Dice", "overlap of prediction and truth, 0 to 1"),
    "dice_both_empty_1": Metric("Dice (both empty = 1)", "Dice where an empty truth that is left empty counts as 1"),
    "iou": Metric("IoU", "intersection over union, 0 to 1"),
    "precision": Metric("Precision", "share of the predicted pixels that are right"),
    "recall": Metric("Recall", "share of the true pixels that are found"),
    "hd95": Metric("HD95", "95th percentile of the distance between the two boundaries", 2, False),
    "hd95_detected": Metric("HD95 (detected)", "HD95 of the structures that were found", 2, False),
    "asd": Metric("ASD", "average distance between the two boundaries", 2, False),
    "ece": Metric("ECE", "expected calibration error: how far confidence is from accuracy", 4, False),
    "nll": Metric("NLL", "negative log-likelihood of the truth", 4, False),
    "brier": Metric("Brier", "squared error of the probabilities", 4, False),
    "pixels": Metric("Pixels", "labelled pixels of the case", 0, None),
    "label_pixels": Metric("True pixels", "size of the structure in the truth", 0, None),
    "predicted_pixels": Metric("Predicted pixels", "size of the structure in the prediction", 0, None),
}


def metric(name: str) -> Metric:
    """The description of a metric; an unknown one is named as it is written.

    Example:
        >>> metric("hd95").label, metric("my_score").label
        ('HD95', 'my score')
    """
    return METRICS.get(name, Metric(name.replace("_", " "), "", 3, None))


def number(value: Any, digits: int = 3) -> str:
    """A number with `digits` decimals, thousands apart; a dash when it is not defined.

    Example:
        >>> number(0.81249), number(1234567, 0), number("")
        ('0.812', '1 234 567', '–')
    """
    found = to_number(value)
    return ABSENT if found is None else f"{found:,.{digits}f}".replace(",", "\u202f").replace("-", "\u2212")


def score(value: Any, name: str) -> str:
    """A value of the metric `name`, rounded as that metric is.

    Example:
        >>> score(3.14159, "hd95")
        '3.14'
    """
    return number(value, metric(name).digits)


def interval(estimate: Any, name: str) -> str:
    """The confidence interval of an estimate with `low` and `high`, or a dash.

    Example:
        >>> interval({"mean": 0.8, "low": 0.75, "high": 0.84}, "dice")
        '0.750 to 0.840'
    """
    low, high = (score(estimate.get(end), name) for end in ("low", "high"))
    return ABSENT if ABSENT in (low, high) else f"{low} to {high}"


def compact(value: Any) -> str:
    """A number with four significant digits, for columns of unknown scale.

    Example:
        >>> compact(0.000123456), compact(12.0), compact(None)
        ('0.0001235', '12', '–')
    """
    found = to_number(value)
    return ABSENT if found is None else f"{found:.4g}".replace("-", "\u2212")


def duration(seconds: Any) -> str:
    """Seconds in words.

    Example:
        >>> duration(42.3), duration(754), duration(9000), duration(None)
        ('42 s', '12 min 34 s', '2 h 30 min', '–')
    """
    found = to_number(seconds)
    if found is None:
        return ABSENT
    minutes, rest = divmod(round(found), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def magnitude(value: Any) -> str:
    """A count in thousands, millions or milliards, for cards.

    Example:
        >>> magnitude(487_000), magnitude(31_043_521), magnitude(12)
        ('487 k', '31.0 M', '12')
    """
    found = to_number(value)
    if found is None:
        return ABSENT
    for limit, unit, digits in ((1e9, "G", 1), (1e6, "M", 1), (1e4, "k", 0)):
        if found >= limit:
            return f"{found / (limit if unit != 'k' else 1e3):.{digits}f} {unit}"
    return f"{found:.0f}"
