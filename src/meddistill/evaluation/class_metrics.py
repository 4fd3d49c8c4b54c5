"""The scores of answers about whole images, with their direction, and where they are undefined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meddistill.errors import ConfigError, unknown_name
from meddistill.evaluation.measured import Counts, Measured, weighted_mean
from meddistill.evaluation.metrics import nanmean
from meddistill.evaluation.ranking import ratio

Floats = npt.NDArray[np.float64]

POLICY = (
    "Averages over classes (macro) and over images (weighted) take the classes that occur in the truth; one "
    "that does not has neither recall, AUROC nor average precision. A class that is never answered has "
    "precision 0. AUROC and average precision set one class against the others. Several labels of an image "
    "are decided at 0.5 each, and accuracy, ECE and Brier count every label of every image."
)


@dataclass(frozen=True)
class ClassMetric:
    """One score of a set of answers.

    Args:
        title: how tables call it.
        higher_is_better: its direction.
        of: its values (...) for weights (..., N) of the images; NaN where it is undefined.
        cases: the value of every single image (N,), where it is a mean over them.
        bounds: the lowest and highest value that it can have.
    """

    title: str
    higher_is_better: bool
    of: Callable[[Measured, Floats], Floats]
    cases: Callable[[Measured], Floats] | None = None
    bounds: tuple[float, float] = (0.0, 1.0)


def class_metric(name: str) -> ClassMetric:
    """The metric called `name`.

    Raises:
        ConfigError: there is none.

    Example:
        >>> class_metric("ece").higher_is_better
        False
    """
    if name not in CLASS_METRICS:
        raise ConfigError(unknown_name("metric of classification", name, CLASS_METRICS))
    return CLASS_METRICS[name]


def precision(counts: Counts) -> Floats:
    """(..., K) share of right answers among those that name the class; NaN for a class without an image."""
    return _present(counts, ratio(counts.true_positive, counts.true_positive + counts.false_positive))


def recall(counts: Counts) -> Floats:
    """(..., K) share of the images of the class that were recognised (sensitivity)."""
    return _present(counts, ratio(counts.true_positive, counts.support))


def specificity(counts: Counts) -> Floats:
    """(..., K) share of the other images that were recognised as such; NaN where there is no other."""
    return ratio(counts.true_negative, counts.true_negative + counts.false_positive, np.nan)


def f1(counts: Counts) -> Floats:
    """(..., K) harmonic mean of precision and recall."""
    return _present(
        counts,
        ratio(2 * counts.true_positive, counts.support + counts.true_positive + counts.false_positive),
    )


def auroc(measured: Measured, weights: Floats) -> Floats:
    """(..., K) area under the ROC curve of each class against the others."""
    return np.stack([ranking.auroc(weights) for ranking in measured.rankings], axis=-1)


def average_precision(measured: Measured, weights: Floats) -> Floats:
    """(..., K) average precision of each class against the others."""
    return np.stack([ranking.average_precision(weights) for ranking in measured.rankings], axis=-1)


PER_CLASS: Mapping[str, Callable[[Measured, Floats], Floats]] = {
    "precision": lambda measured, weights: precision(measured.counts(weights)),
    "recall": lambda measured, weights: recall(measured.counts(weights)),
    "specificity": lambda measured, weights: specificity(measured.counts(weights)),
    "f1": lambda measured, weights: f1(measured.counts(weights)),
    "auroc": auroc,
    "average_precision": average_precision,
}
"""Scores of each class, by name."""


def _accuracy(measured: Measured, weights: Floats) -> Floats:
    if measured.table.task == "classification":
        return weighted_mean(measured.correct, weights)
    counts = measured.counts(weights)
    right = (counts.true_positive + counts.true_negative).sum(axis=-1)
    wrong = (counts.false_positive + counts.false_negative).sum(axis=-1)
    return ratio(right, right + wrong, np.nan)


def _balanced(measured: Measured, weights: Floats) -> Floats:
    """Mean recall of the classes; of several labels the mean of sensitivity and specificity of each."""
    counts = measured.counts(weights)
    found = recall(counts)
    if measured.table.task == "multi_label":
        found = (found + specificity(counts)) / 2
    return nanmean(found, axis=-1)


def _macro(score: Callable[[Counts], Floats]) -> Callable[[Measured, Floats], Floats]:
    return lambda measured, weights: nanmean(score(measured.counts(weights)), axis=-1)


def _weighted(score: Callable[[Counts], Floats]) -> Callable[[Measured, Floats], Floats]:
    def mean(measured: Measured, weights: Floats) -> Floats:
        counts = measured.counts(weights)
        return weighted_mean(score(counts), counts.support)

    return mean


def _present(counts: Counts, values: Floats) -> Floats:
    return np.where(counts.support > 0, values, np.nan)


def _of_cases(values: Callable[[Measured], Floats]) -> Callable[[Measured, Floats], Floats]:
    return lambda measured, weights: weighted_mean(values(measured), weights)


CLASS_METRICS: Mapping[str, ClassMetric] = {
    "accuracy": ClassMetric("Accuracy", True, _accuracy, lambda measured: measured.correct),
    "balanced_accuracy": ClassMetric("Balanced accuracy", True, _balanced),
    "precision_macro": ClassMetric("Precision (macro)", True, _macro(precision)),
    "recall_macro": ClassMetric("Recall (macro)", True, _macro(recall)),
    "f1_macro": ClassMetric("F1 (macro)", True, _macro(f1)),
    "precision_weighted": ClassMetric("Precision (weighted)", True, _weighted(precision)),
    "recall_weighted": ClassMetric("Recall (weighted)", True, _weighted(recall)),
    "f1_weighted": ClassMetric("F1 (weighted)", True, _weighted(f1)),
    "auroc": ClassMetric("AUROC", True, lambda measured, weights: nanmean(auroc(measured, weights), axis=-1)),
    "average_precision": ClassMetric(
        "Average precision",
        True,
        lambda measured, weights: nanmean(average_precision(measured, weights), axis=-1),
    ),
    "ece": ClassMetric("ECE", False, Measured.calibration_error),
    "nll": ClassMetric("NLL", False, _of_cases(lambda m: m.nll), lambda m: m.nll, (0.0, np.inf)),
    "brier": ClassMetric("Brier", False, _of_cases(lambda m: m.brier), lambda m: m.brier, (0.0, 2.0)),
}
"""Every score of a set of answers by name. `auroc` and `average_precision` are means over the classes."""
