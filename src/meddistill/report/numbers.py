"""How the report writes numbers, and what it says of each metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meddistill.data.case import SPLITS
from meddistill.report.reading import to_number

ABSENT = "–"
"""Shown where a number is not defined."""


@dataclass(frozen=True)
class Metric:
    """How one metric is named, explained and rounded; `higher`: whether more is better, None for neither."""

    label: str
    meaning: str
    digits: int = 3
    higher: bool | None = True

    @property
    def explanation(self) -> str:
        """The meaning, and which direction is better."""
        direction = {True: "higher is better", False: "lower is better", None: ""}[self.higher]
        return "; ".join(part for part in (self.meaning, direction) if part)


METRICS: Mapping[str, Metric] = {
    "dice": Metric("Dice", "overlap of prediction and truth, 0 to 1"),
    "dice_both_empty_1": Metric(
        "Dice (both empty = 1)", "Dice where an empty truth that is left empty counts as 1"
    ),
    "iou": Metric("IoU", "intersection over union, 0 to 1"),
    "precision": Metric("Precision", "share of what is predicted that is right"),
    "recall": Metric("Recall", "share of what is there that is found"),
    "specificity": Metric("Specificity", "share of the other images that are recognised as such"),
    "f1": Metric("F1", "harmonic mean of precision and recall"),
    "accuracy": Metric("Accuracy", "share of right answers"),
    "balanced_accuracy": Metric("Balanced accuracy", "mean recall of the classes, however rare they are"),
    "precision_macro": Metric("Precision (macro)", "mean over the classes"),
    "recall_macro": Metric("Recall (macro)", "mean over the classes"),
    "f1_macro": Metric("F1 (macro)", "mean over the classes"),
    "precision_weighted": Metric("Precision (weighted)", "mean over the classes by their number of images"),
    "recall_weighted": Metric("Recall (weighted)", "mean over the classes by their number of images"),
    "f1_weighted": Metric("F1 (weighted)", "mean over the classes by their number of images"),
    "auroc": Metric("AUROC", "how often an image of the class outranks another one, 0.5 by chance"),
    "average_precision": Metric("Average precision", "mean precision over all thresholds"),
    "hd95": Metric("HD95", "95th percentile of the distance between the two boundaries", 2, False),
    "hd95_detected": Metric("HD95, detected", "HD95 of the structures that were found", 2, False),
    "asd": Metric("ASD", "average distance between the two boundaries", 2, False),
    "nsd": Metric("NSD", "share of both boundaries that is within 2 px (or mm) of the other one"),
    "ece": Metric("ECE", "expected calibration error: how far confidence is from accuracy", 4, False),
    "nll": Metric("NLL", "negative log-likelihood of the truth", 4, False),
    "brier": Metric("Brier", "squared error of the probabilities", 4, False),
    "rvd": Metric("RVD", "predicted volume less the true one, as a share of the true one", 3, None),
    "ravd": Metric("RAVD", "size of the volume's error, as a share of the true volume", 3, False),
    "avd": Metric("AVD (ml)", "size of the volume's error in millilitres", 2, False),
    "pixels": Metric("Pixels", "labelled pixels of the case", 0, None),
    "label_pixels": Metric("True pixels", "size of the structure in the truth", 0, None),
    "predicted_pixels": Metric("Predicted pixels", "size of the structure in the prediction", 0, None),
}

_DISTANCES = ("hd95", "hd95_detected", "asd")


def set_words(name: str) -> str:
    """What to call a scored set of cases: a split of the run's own data, or a further test set.

    Example:
        >>> set_words("test"), set_words("far")
        ('test split', 'test set far')
    """
    return f"{name} split" if name in SPLITS else f"test set {name}"


def metric(name: str) -> Metric:
    """The description of a metric; an unknown one is named as it is written.

    Example:
        >>> metric("hd95").label, metric("my_score").label
        ('HD95', 'my score')
    """
    return METRICS.get(name, Metric(name.replace("_", " "), "", 3, None))


def metric_label(name: str, unit: str = "") -> str:
    """Label of a metric, with the unit where it is a distance.

    Example:
        >>> metric_label("hd95", "mm"), metric_label("dice", "mm")
        ('HD95 (mm)', 'Dice')
    """
    suffix = f" ({unit})" if unit and name in _DISTANCES else ""
    return f"{metric(name).label}{suffix}"


def number(value: Any, digits: int = 3) -> str:
    """A number with `digits` decimals, thousands apart; a dash when it is not defined.

    Example:
        >>> number(0.81249), number(1234567, 0).split(), number("")
        ('0.812', ['1', '234', '567'], '–')
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
    """The confidence interval of an estimate with `low` and `high`, in one unbroken piece, or a dash.

    Example:
        >>> interval({"mean": 0.8, "low": 0.75, "high": 0.84}, "dice").replace("\N{NO-BREAK SPACE}", " ")
        '0.750 to 0.840'
    """
    low, high = (score(estimate.get(end), name) for end in ("low", "high"))
    return ABSENT if ABSENT in (low, high) else f"{low}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{high}"


def signed(value: Any, name: str) -> str:
    """A difference of the metric `name` with its sign.

    Example:
        >>> signed(0.0213, "dice"), signed(-1.5, "hd95")
        ('+0.021', '−1.50')
    """
    text = score(value, name)
    return text if text == ABSENT or text.startswith("\N{MINUS SIGN}") else f"+{text}"


def signed_interval(low: Any, high: Any, name: str) -> str:
    """The interval of a difference of the metric `name`.

    Example:
        >>> signed_interval(-0.012, 0.03, "dice")
        '−0.012 to +0.030'
    """
    return f"{signed(low, name)} to {signed(high, name)}"


def p_value(value: Any) -> str:
    """A p-value with four decimals.

    Example:
        >>> p_value(0.0312), p_value(1e-7), p_value(None)
        ('0.0312', '< 0.0001', '–')
    """
    found = to_number(value)
    return "< 0.0001" if found is not None and found < 1e-4 else number(found, 4)


def compact(value: Any) -> str:
    """A number with four significant digits, for columns of unknown scale.

    Example:
        >>> compact(0.000123456), compact(12.0), compact(None)
        ('0.0001235', '12', '–')
    """
    found = to_number(value)
    return ABSENT if found is None else f"{found:.4g}".replace("-", "\u2212")


def duration(seconds: Any) -> str:
    """Seconds in the unit that suits them.

    Example:
        >>> duration(42.3), duration(754), duration(9000), duration(0.0123), duration(None)
        ('42.3 s', '12.6 min', '2.5 h', '12.3 ms', '–')
    """
    found = to_number(seconds)
    if found is None:
        return ABSENT
    units = ((3600, "h"), (60, "min"), (1, "s"), (0.001, "ms"))
    length, unit = next((size, name) for size, name in units if found >= size or name == "ms")
    return f"{found / length:.1f} {unit}"


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
