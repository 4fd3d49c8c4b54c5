"""How well classes can be told apart by a few numbers of each image, with a plain linear classifier.

It is meant for what should say nothing of the class: the border, the size of the file, the scanner. The
classifier is linear discriminant analysis with equal priors and a covariance that is shrunk towards a sphere
(Friedman, "Regularized discriminant analysis", JASA 1989, equation 18), fitted in folds of whole groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from meddistill.data.case import Case
from meddistill.data.grouping import fold_positions
from meddistill.errors import ConfigError, DataError

SHRINKAGE = 0.3
"""Share of the sphere in the covariance: features are many, and those of neighbouring places alike."""

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.intp]


class Interval(NamedTuple):
    """A score and the ends of its 95 % bootstrap interval over groups."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ToldApart:
    """How well the classes were told apart, each image by a classifier that saw no image of its group.

    Args:
        balanced_accuracy: mean recall of the classes; 1/K is chance.
        auroc: of each class against all others; 0.5 is chance.
    """

    balanced_accuracy: Interval
    auroc: tuple[Interval, ...]


def tell_apart(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: Sequence[str],
    *,
    folds: int = 5,
    resamples: int = 500,
) -> ToldApart:
    """Cross-validate a linear classifier on `features`; the same arguments give the same numbers.

    Args:
        features: (N, F) numbers of each image, of any scale; constant ones do no harm.
        labels: (N,) classes 0..K-1.
        groups: (N,) what must not be divided between folds, usually the patient.
        folds: how many times the classifier is fitted; folds are balanced by class.
        resamples: bootstrap samples of groups for the intervals.

    Raises:
        ConfigError: the arguments differ in length, or `folds` or `resamples` is too small.
        DataError: there is one class only, or a class has fewer groups than there are folds.

    Example:
        >>> labels = np.arange(60) % 2
        >>> brightness = labels + np.random.default_rng(0).normal(0, 0.3, 60)
        >>> found = tell_apart(brightness[:, None], labels, [f"{n // 3}" for n in range(60)])
        >>> found.balanced_accuracy.value > 0.9, found.auroc[1].low > 0.9
        (True, True)
    """
    rows, truth = np.asarray(features, float), np.asarray(labels, np.intp)
    _, members = np.unique(np.asarray(groups, str), return_inverse=True)
    _check(rows, truth, members, folds, resamples)
    logits = np.zeros((len(truth), truth.max() + 1))
    for held_out in _folds(truth, groups, folds):
        logits[held_out] = _discriminants(rows[~held_out], truth[~held_out], rows[held_out])
    draws = _draws(members, resamples)
    chosen = np.eye(logits.shape[1], dtype=bool)[truth]
    return ToldApart(
        balanced_accuracy=_interval(_balanced(logits.argmax(axis=1) == truth, chosen, draws)),
        auroc=tuple(
            _interval(_auroc(column, positive, draws))
            for column, positive in zip(_log_odds(logits).T, chosen.T, strict=True)
        ),
    )


def _check(rows: Floats, truth: Numbers, members: Numbers, folds: int, resamples: int) -> None:
    if rows.ndim != 2 or not len(rows) == len(truth) == len(members):
        raise ConfigError(
            f"features (N, F), labels (N,) and groups (N,) must be of one length, not {rows.shape}, "
            f"{truth.shape} and {members.shape}"
        )
    if folds < 2 or resamples < 1:
        raise ConfigError(f"at least 2 folds and 1 resample are needed, not {folds} and {resamples}")
    classes = range(int(truth.max(initial=-1)) + 1)
    fewest = min((len(np.unique(members[truth == value])) for value in classes), default=0)
    if len(classes) < 2 or fewest < folds:
        raise DataError(
            f"{len(classes)} classes, the rarest of {fewest} groups: at least two classes of {folds} groups "
            "are needed to tell them apart in folds"
        )


def _folds(truth: Numbers, groups: Sequence[str], folds: int) -> list[npt.NDArray[np.bool_]]:
    """For each fold the images that are held out."""
    cases = [
        Case(f"{row}", group=f"group {group}", stratum=f"{value}")
        for row, (group, value) in enumerate(zip(groups, truth, strict=True))
    ]
    held_out = np.zeros((folds, len(cases)), dtype=bool)
    for fold, positions in enumerate(fold_positions(cases, folds, salt="told apart")):
        held_out[fold, positions] = True
    return list(held_out)


def _discriminants(rows: Floats, truth: Numbers, unseen: Floats) -> Floats:
    """Logits (M, K) of `unseen` (M, F): the log-density of each class, but for a common constant."""
    centre, spread = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(spread > 1e-9, spread, np.inf)
    rows, unseen = (rows - centre) / scale, (unseen - centre) / scale
    means = np.stack([rows[truth == value].mean(axis=0) for value in range(truth.max() + 1)])
    counts = np.bincount(truth)
    within = (rows - means[truth]) / np.sqrt(counts[truth] * len(counts))[:, None]
    covariance = within.T @ within
    sphere = max(np.trace(covariance) / len(covariance), 1e-6) * np.eye(len(covariance))
    weights = np.linalg.solve((1 - SHRINKAGE) * covariance + SHRINKAGE * sphere, means.T)
    return np.asarray(unseen @ weights - (means.T * weights).sum(axis=0) / 2)


def _log_odds(logits: Floats) -> Floats:
    """Of each class against all others together; unlike probabilities they never round to 1."""
    others = np.where(np.eye(logits.shape[1], dtype=bool), -np.inf, logits[:, None])
    return np.asarray(logits - logsumexp(others, axis=2))


def _draws(members: Numbers, resamples: int) -> Floats:
    """How often each image counts (1 + R, N): once in the first row, then as its group was drawn."""
    count = int(members.max()) + 1
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.concatenate([np.ones((1, len(members))), drawn[:, members]])


def _balanced(right: npt.NDArray[np.bool_], chosen: npt.NDArray[np.bool_], draws: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        recalls = (draws @ (chosen & right[:, None])) / (draws @ chosen)
    return np.asarray(recalls.mean(axis=1))


def _auroc(scores: Floats, positive: npt.NDArray[np.bool_], draws: Floats) -> Floats:
    """The share of pairs in which the positive image has the larger score, ties by half."""
    wins = (np.sign(scores[positive][:, None] - scores[~positive][None]) + 1) / 2
    ours, theirs = draws[:, positive], draws[:, ~positive]
    with np.errstate(invalid="ignore"):
        return np.asarray(((ours @ wins) * theirs).sum(axis=1) / (ours.sum(axis=1) * theirs.sum(axis=1)))


def _interval(values: Floats) -> Interval:
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return Interval(float(values[0]), float(low), float(high))
