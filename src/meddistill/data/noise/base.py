"""What all kinds of label noise share: it depends on the seed and the case alone, never on the order."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError

Labels = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Noise(ABC):
    """A kind of label noise. Subclasses are frozen dataclasses; their fields are the options.

    `name` is what a recipe calls it.
    """

    name: ClassVar[str]

    def describe(self) -> dict[str, Any]:
        """Name and options as plain values, for the run folder."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]


class ClassNoise(Noise):
    """Noise on labels that are one class for each case.

    `needs_features` says that it depends on what the cases look like, `among_others` that it chooses among
    several other classes, so that two are too few for it to differ from a flip.
    """

    needs_features: ClassVar[bool] = False
    among_others: ClassVar[bool] = False

    def apply(
        self,
        labels: Labels,
        *,
        seed: int,
        features: npt.NDArray[np.floating[Any]] | None = None,
        ids: Sequence[str] | None = None,
        num_classes: int | None = None,
    ) -> Labels:
        """The labels as somebody may have noted them wrongly.

        Args:
            labels: (N,) integers 0..K-1 or `IGNORE_INDEX`, which stays.
            seed: with the id of a case decides its label.
            features: (N, ...) numbers that describe each case, for noise that depends on them.
            ids: name of each case; its position when not given. With ids the order of the cases does not
                matter, and (but for noise that depends on features) neither does which others there are.
            num_classes: K; the largest label plus 1 when not given.

        Returns:
            (N,) of the type of `labels`.

        Raises:
            ConfigError: the shapes disagree, a label is no class, or features are missing.
        """
        known = labels != IGNORE_INDEX
        names = [str(number) for number in range(len(labels))] if ids is None else list(ids)
        _check(labels, names, known, num_classes)
        noisy = labels.copy()
        if not known.any():
            return noisy
        kept = [name for name, there in zip(names, known, strict=True) if there]
        classes = int(labels[known].max()) + 1 if num_classes is None else num_classes
        described = None if features is None else _rows(features, len(labels))[known]
        noisy[known] = self._drawn(labels[known].astype(np.int64), classes, seed, kept, described)
        return noisy

    @abstractmethod
    def _drawn(
        self, labels: Labels, num_classes: int, seed: int, ids: Sequence[str], features: Floats | None
    ) -> Labels:
        """Noisy labels (N,) of known ones; `features` (N, F) where they were given."""


class MaskNoise(Noise):
    """Noise on label maps, in two or three axes."""

    def apply(self, label: Labels, *, seed: int, case_id: str = "") -> Labels:
        """The label map as somebody may have drawn it wrongly.

        Args:
            label: (*S) integers 0..K-1, 0 the background, or `IGNORE_INDEX`, which stays.
            seed: with the id of the case decides everything random.
            case_id: name of the case.

        Returns:
            (*S) of the type of `label`. A case that the draw leaves alone is a copy.
        """
        noisy = self._drawn(label, np.random.default_rng(digest(seed, self.name, case_id)))
        return np.where(label == IGNORE_INDEX, label, noisy).astype(label.dtype)

    @abstractmethod
    def _drawn(self, label: Labels, generator: np.random.Generator) -> Labels:
        """The noisy map; what it says at ignored pixels is not used."""


@dataclass(frozen=True, kw_only=True)
class SomeCases(MaskNoise):
    """Noise on the maps of some cases.

    Args:
        rate: probability that a case is changed, 0..1.

    Raises:
        ConfigError: an option is out of range.
    """

    rate: float = 1.0

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def _drawn(self, label: Labels, generator: np.random.Generator) -> Labels:
        return self._changed(label, generator) if generator.random() < self.rate else label

    @abstractmethod
    def _changed(self, label: Labels, generator: np.random.Generator) -> Labels:
        """The map of a case that is changed."""


def digest(*parts: Any) -> int:
    """A number in 0..2**64-1 that depends on every part and on their order.

    Example:
        >>> digest(0, "a") == digest(0, "a"), digest(0, "a") == digest(0, "b")
        (True, False)
    """
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def uniform(seed: int, ids: Sequence[str], purpose: str) -> Floats:
    """A number in 0..1 (1 excluded) for each id, independent of the others and of other purposes.

    Example:
        >>> uniform(0, ["a", "b"], "flip").tolist() == uniform(0, ["b", "a"], "flip")[::-1].tolist()
        True
    """
    return np.array([(digest(seed, purpose, name) >> 11) / 2**53 for name in ids], dtype=np.float64)


def drawn_classes(probabilities: Floats, numbers: Floats) -> Labels:
    """The class that each number in 0..1 falls on.

    Args:
        probabilities: (N, K), rows that add up to 1.
        numbers: (N,), 1 excluded.

    Example:
        >>> drawn_classes(np.array([[0.3, 0.7], [0.0, 1.0]]), np.array([0.29, 0.0]))
        array([0, 1])
    """
    reached = probabilities.cumsum(1)
    classes: Labels = (numbers[:, None] * reached[:, -1:] >= reached).sum(1)
    return classes


def check_rate(value: Any, name: str = "rate") -> None:
    """Refuse what is no probability.

    Raises:
        ConfigError: it is none.

    Example:
        >>> check_rate(1.5)
        Traceback (most recent call last):
        meddistill.errors.ConfigError: label noise: rate must lie in 0..1, not 1.5
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"label noise: {name} must lie in 0..1, not {value!r}")


def check_length(name: str, value: Any) -> None:
    """Refuse what is no length: a finite number above 0.

    Raises:
        ConfigError: it is none.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value <= 0:
        raise ConfigError(f"label noise: {name} must be a number above 0, not {value!r}")


def _check(labels: Labels, ids: Sequence[str], known: Mask, num_classes: int | None) -> None:
    if labels.ndim != 1 or len(ids) != len(labels):
        raise ConfigError(
            f"label noise: labels {labels.shape} must be (N,), one class for each of the {len(ids)} cases"
        )
    classes = labels[known]
    if classes.size and (classes.min() < 0 or (num_classes is not None and classes.max() >= num_classes)):
        highest = "K" if num_classes is None else num_classes
        raise ConfigError(
            f"label noise: labels run from {classes.min()} to {classes.max()}; they must be 0 to {highest} "
            f"less 1, or {IGNORE_INDEX}"
        )


def _rows(features: npt.NDArray[np.floating[Any]], count: int) -> Floats:
    if features.ndim < 2 or len(features) != count:
        raise ConfigError(
            f"label noise: features {features.shape} must be (N, ...) with a row for each of {count} labels"
        )
    return features.reshape(count, -1).astype(np.float64)
