"""Label values of files to class numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.sources.scan import listed
from meddistill.errors import ConfigError, DataError

Classes = Mapping[str, int | Sequence[int]]
"""For each class, background first, the label value or values that mean it."""

_WIDEST = 2**16


@dataclass(frozen=True)
class ClassMap:
    """Which label values mean which class.

    Args:
        names: of the classes, background first.
        values: for each of them the label values that mean it.
        ignore: a value that means "not labelled", or None.

    Example:
        >>> classes = ClassMap.of({"background": [0, 1, 2], "left ventricle": 3}, ignore=4)
        >>> classes(np.array([[0, 3, 2, 4]]), Path("label.nii.gz")).tolist()
        [[0, 1, 0, -100]]
    """

    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    ignore: int | None = None

    @classmethod
    def of(cls, classes: Classes, ignore: int | None = None) -> ClassMap:
        """Check the mapping of a recipe.

        Raises:
            ConfigError: fewer than two classes, one without values, a value that stands twice, or one that is
                no whole number.
        """
        if not isinstance(classes, Mapping) or len(classes) < 2:
            raise ConfigError(
                "classes needs at least two names with their label values, background first, for example "
                f"{{background: 0, lesion: 1}}, not {classes!r}"
            )
        values = tuple(_values(name, given) for name, given in classes.items())
        all_values = [value for given in values for value in given] + ([] if ignore is None else [ignore])
        twice = [value for value in all_values if all_values.count(value) > 1]
        if twice:
            raise ConfigError(f"classes: the label value {twice[0]} stands twice; give it to one class")
        if max(all_values) - min(all_values) >= _WIDEST:
            raise ConfigError(f"classes: label values must lie within {_WIDEST} of each other")
        return cls(tuple(str(name) for name in classes), values, ignore)

    def __call__(self, labels: npt.NDArray[np.integer[Any]], path: Path) -> npt.NDArray[np.int16]:
        """The class of each voxel, `IGNORE_INDEX` where it is not labelled.

        Args:
            labels: values as stored.
            path: their file, for the message.

        Raises:
            DataError: a value that no class has.
        """
        low, table = self._table
        if labels.min() < low or labels.max() >= low + len(table):
            self._refuse(labels, path)
        found: npt.NDArray[np.int16] = table[labels.astype(np.int64) - low]
        if (found == _UNKNOWN).any():
            self._refuse(labels, path)
        return found

    @cached_property
    def _table(self) -> tuple[int, npt.NDArray[np.int16]]:
        """The smallest value, and the class of it and each later one."""
        known = self._known()
        table = np.full(max(known) - min(known) + 1, _UNKNOWN, dtype=np.int16)
        for value, number in known.items():
            table[value - min(known)] = number
        return min(known), table

    def _known(self) -> dict[int, int]:
        known = {value: number for number, given in enumerate(self.values) for value in given}
        return known if self.ignore is None else known | {self.ignore: IGNORE_INDEX}

    def _refuse(self, labels: npt.NDArray[np.integer[Any]], path: Path) -> None:
        known = sorted(self._known())
        wrong = np.setdiff1d(labels, known)
        raise DataError(
            f"{path}: label value {listed(wrong)} is in no class (known: {listed(known, limit=20)}); add it "
            "to a class, or give ignore_value if it means not labelled"
        )


_UNKNOWN = IGNORE_INDEX - 1


def whole_numbers(labels: npt.NDArray[np.generic], path: Path) -> npt.NDArray[np.integer[Any]]:
    """Label values as whole numbers.

    Raises:
        DataError: a value is not whole, or not finite.
    """
    if labels.dtype.kind in "bui":
        return labels.astype(np.uint8) if labels.dtype.kind == "b" else labels  # type: ignore[return-value]
    rounded = np.rint(labels.astype(np.float64))
    wrong = labels[~((labels == rounded) & (np.abs(rounded) < 2**31))]
    if wrong.size:
        raise DataError(
            f"{path}: label value {wrong.flat[0]:g} is not a whole number ({wrong.size} voxels); resample "
            "labels by the nearest value"
        )
    return rounded.astype(np.int32)


def numbered_classes(values: Iterable[int]) -> dict[str, list[int]]:
    """Classes for label values of unknown meaning: the smallest is the background.

    Example:
        >>> numbered_classes([0, 3, 1])
        {'background': [0], 'label 1': [1], 'label 3': [3]}
    """
    first, *others = sorted(set(values))
    return {"background": [first], **{f"label {value}": [value] for value in others}}


def _values(name: str, given: int | Sequence[int]) -> tuple[int, ...]:
    values = (given,) if isinstance(given, int) else tuple(given) if isinstance(given, Sequence) else ()
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    if not values or not whole or isinstance(given, str):
        raise ConfigError(f"classes.{name} must be a label value or a list of them, not {given!r}")
    return values
