"""The table of answers: label and probabilities of every image, from which all its scores are computed."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.task import Task
from meddistill.errors import DataError, RunError
from meddistill.files import replacing

LABEL, PROBABILITY, TRUTH = "label", "p_", "y_"
"""Columns of a CSV beside `case`, `group` and `stratum`: the class, or `y_NAME` for each of several labels,
and the probability `p_NAME` of each class or label."""

_IDENTITY = ("case", "group", "stratum")

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class AnswerTable:
    """One row an image.

    Args:
        cases: (N,) ids.
        groups: (N,) what must be resampled together, for example the patient.
        strata: (N,) what splits were balanced by.
        labels: (N,) number of the class, or (N, L) 0 and 1 for each label; `IGNORE_INDEX` where unknown.
        probabilities: (N, K) in 0..1; of classes they add up to 1.
        class_names: K names.

    Raises:
        DataError: the arrays do not fit each other, or a probability is not in 0..1.

    Example:
        >>> names = np.array(["a", "b"])
        >>> table = AnswerTable(names, names, names, np.array([0, 1]), np.eye(2), ("healthy", "sick"))
        >>> table.task, len(table), table.known.tolist()
        ('classification', 2, [True, True])
    """

    cases: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]
    strata: npt.NDArray[np.str_]
    labels: Integers
    probabilities: Floats
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = (len(self.cases), len(self.class_names))
        lengths = {len(self.cases), len(self.groups), len(self.strata)}
        if (
            self.probabilities.shape != shape
            or self.labels.shape not in (shape, shape[:1])
            or len(lengths) > 1
        ):
            raise DataError(
                f"probabilities {self.probabilities.shape} and labels {self.labels.shape} do not fit "
                f"{shape[0]} images of {shape[1]} classes"
            )
        if not bool(((self.probabilities >= 0) & (self.probabilities <= 1 + 1e-6)).all()):
            raise DataError("a probability is not in 0..1: give softmax or sigmoid of finite logits")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.cases)

    @property
    def task(self) -> Task:
        """`multi_label` where every label has a column of its own, else `classification`."""
        return "multi_label" if self.labels.ndim == 2 else "classification"

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(N,) or (N, L): whether the label is known."""
        known: npt.NDArray[np.bool_] = self.labels != IGNORE_INDEX
        return known

    @property
    def predicted(self) -> Integers:
        """(N,) most likely class, or (N, L) 1 where the probability is above one half."""
        if self.task == "multi_label":
            return (self.probabilities > 0.5).astype(np.int64)
        likeliest: Integers = self.probabilities.argmax(axis=1).astype(np.int64)
        return likeliest

    def take(self, rows: npt.ArrayLike) -> AnswerTable:
        """Some rows, by positions (n,) or by a mask (N,)."""
        chosen = np.asarray(rows)
        chosen = chosen if len(chosen) else chosen.astype(np.intp)
        return AnswerTable(
            self.cases[chosen],
            self.groups[chosen],
            self.strata[chosen],
            self.labels[chosen],
            self.probabilities[chosen],
            self.class_names,
        )

    def by_case(self) -> AnswerTable:
        """The rows in the order of their ids, the same for every run."""
        return self.take(np.argsort(self.cases, kind="stable"))

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows as plain values, in order, as the CSV has them; an unknown label is empty."""
        for index, case in enumerate(self.cases.tolist()):
            row: dict[str, Any] = {"case": case, "group": self.groups[index], "stratum": self.strata[index]}
            row |= self._labels(index)
            yield row | {
                f"{PROBABILITY}{name}": float(value)
                for name, value in zip(self.class_names, self.probabilities[index], strict=True)
            }

    def write_csv(self, path: Path | str) -> None:
        """Write the table in one step; probabilities keep all digits.

        Raises:
            RunError: the file cannot be written.
        """
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns())
            writer.writeheader()
            writer.writerows(self.rows())

    @classmethod
    def read_csv(cls, path: Path | str) -> AnswerTable:
        """The table that `write_csv` wrote.

        Raises:
            RunError: the file is missing, lacks a column or holds something else.
        """
        try:
            with open(path, encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                names = _names(reader.fieldnames or (), path)
                return _table(list(reader), names, reader.fieldnames or ())
        except FileNotFoundError as error:
            raise RunError(f"{path} is missing: evaluate the run first") from error
        except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
            raise RunError(f"cannot read the answers {path}: {error}") from error

    def _columns(self) -> list[str]:
        several = [f"{TRUTH}{name}" for name in self.class_names]
        labels = several if self.task == "multi_label" else [LABEL]
        return [*_IDENTITY, *labels, *(f"{PROBABILITY}{name}" for name in self.class_names)]

    def _labels(self, index: int) -> dict[str, str]:
        label = self.labels[index]
        if label.ndim == 0:
            return {LABEL: "" if label == IGNORE_INDEX else self.class_names[int(label)]}
        texts = ["" if value == IGNORE_INDEX else str(value) for value in label.tolist()]
        return {f"{TRUTH}{name}": text for name, text in zip(self.class_names, texts, strict=True)}


def is_answer_table(path: Path | str) -> bool:
    """Whether a CSV begins as `AnswerTable.write_csv` begins it; False where it cannot be read."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return any(name.startswith(PROBABILITY) for name in header)


def _names(columns: Sequence[str], path: Path | str) -> tuple[str, ...]:
    names = tuple(name.removeprefix(PROBABILITY) for name in columns if name.startswith(PROBABILITY))
    if not names or not set(_IDENTITY) <= set(columns):
        raise RunError(f"{path} is no table of answers: it needs case, group, stratum and p_CLASS columns")
    return names


def _table(rows: Sequence[Mapping[str, str]], names: tuple[str, ...], columns: Sequence[str]) -> AnswerTable:
    numbers = {name: number for number, name in enumerate(names)} | {"": IGNORE_INDEX}
    if LABEL in columns:
        labels = np.array([numbers[row[LABEL]] for row in rows], np.int64)
    else:
        held = [[int(row[f"{TRUTH}{name}"] or IGNORE_INDEX) for name in names] for row in rows]
        labels = np.array(held, np.int64).reshape(len(rows), len(names))
    probabilities = [[float(row[f"{PROBABILITY}{name}"]) for name in names] for row in rows]
    case, group, stratum = (np.array([row[name] for row in rows], np.str_) for name in _IDENTITY)
    shaped = np.array(probabilities, np.float64).reshape(len(rows), len(names))
    return AnswerTable(case, group, stratum, labels, shaped, names)
