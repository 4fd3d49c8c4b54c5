"""Noise that depends on the class alone: a matrix says how often each class is taken for each other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meddistill.data.noise.base import ClassNoise, Floats, Labels, check_rate, drawn_classes, uniform
from meddistill.errors import ConfigError


class TransitionNoise(ClassNoise):
    """Each label is drawn from the row of its class in a transition matrix."""

    @abstractmethod
    def transition_matrix(self, num_classes: int) -> Floats:
        """Probability of each noted class (column) for each true one (row), (K, K).

        Raises:
            ConfigError: the noise does not fit so many classes.
        """

    def _drawn(
        self,
        labels: Labels,
        num_classes: int,
        seed: int,
        ids: Sequence[str],
        features: Floats | None,  # noqa: ARG002 - the class says it all
    ) -> Labels:
        rows = self.transition_matrix(num_classes)[labels]
        return drawn_classes(rows, uniform(seed, ids, self.name))


@dataclass(frozen=True, kw_only=True)
class Symmetric(TransitionNoise):
    """A share of the labels becomes another class, every other one as likely.

    The class itself is not among those that are drawn: `rate` is the share of wrong labels.

    Args:
        rate: 0..1.

    Raises:
        ConfigError: the rate lies outside 0..1.

    Example:
        >>> Symmetric(rate=0.2).transition_matrix(3)
        array([[0.8, 0.1, 0.1],
               [0.1, 0.8, 0.1],
               [0.1, 0.1, 0.8]])
    """

    name = "symmetric"
    rate: float

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def transition_matrix(self, num_classes: int) -> Floats:
        """(K, K): 1 - rate on the diagonal, rate / (K - 1) elsewhere."""
        _check_several(self.rate, num_classes)
        matrix = np.full((num_classes, num_classes), self.rate / max(num_classes - 1, 1))
        np.fill_diagonal(matrix, 1 - self.rate)
        return matrix


@dataclass(frozen=True, kw_only=True)
class PairFlip(TransitionNoise):
    """A share of the labels becomes the next class, the last one the first (Han et al. 2018).

    Args:
        rate: 0..1.

    Raises:
        ConfigError: the rate lies outside 0..1.

    Example:
        >>> PairFlip(rate=0.25).transition_matrix(3)
        array([[0.75, 0.25, 0.  ],
               [0.  , 0.75, 0.25],
               [0.25, 0.  , 0.75]])
    """

    name = "pair_flip"
    among_others = True
    rate: float

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def transition_matrix(self, num_classes: int) -> Floats:
        """(K, K): 1 - rate on the diagonal, rate right of it."""
        _check_several(self.rate, num_classes)
        own: Floats = np.eye(num_classes)
        return (1 - self.rate) * own + self.rate * np.roll(own, 1, axis=1)


@dataclass(frozen=True, kw_only=True)
class ClassConditional(TransitionNoise):
    """Labels are drawn from the row of their class in a given matrix.

    Args:
        matrix: K rows, one for each true class, of K probabilities that add up to 1.

    Raises:
        ConfigError: it is no such matrix.

    Example:
        >>> noise = ClassConditional(matrix=[[0.9, 0.1], [0.0, 1.0]])  # one in ten lesions is overlooked
        >>> noise.apply(np.array([1, 1, 1]), seed=0).tolist()
        [1, 1, 1]
        >>> ClassConditional(matrix=[[0.9, 0.2], [0.0, 1.0]])
        Traceback (most recent call last):
        meddistill.errors.ConfigError: label noise: row 0 of matrix adds up to 1.1; every row must add up to 1
    """

    name = "class_conditional"
    matrix: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        _check_matrix(self.matrix)

    def transition_matrix(self, num_classes: int) -> Floats:
        """The matrix, (K, K)."""
        if len(self.matrix) != num_classes:
            raise ConfigError(
                f"label noise: matrix has {len(self.matrix)} rows, but there are {num_classes} classes; "
                "give one row for each"
            )
        return np.array(self.matrix, dtype=np.float64)


def _check_several(rate: float, num_classes: int) -> None:
    if rate and num_classes < 2:
        raise ConfigError("label noise: with one class no label can be wrong; set rate to 0")


def _check_matrix(matrix: Any) -> None:
    """Refuse what is no square matrix of probabilities whose rows add up to 1."""
    try:
        values = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 2 or not values.size or values.shape[0] != values.shape[1]:
        raise ConfigError("label noise: matrix must have as many columns as rows, one for each class")
    for number, row in enumerate(values):
        if not (row >= 0).all():
            raise ConfigError(f"label noise: row {number} of matrix holds a number that is no probability")
        if abs(row.sum() - 1) > 1e-6:
            raise ConfigError(
                f"label noise: row {number} of matrix adds up to {row.sum():.6g}; every row must add up to 1"
            )
