"""The table of per-case, per-class scores: what every summary, test and comparison starts from."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.errors import RunError, unknown_name
from meddistill.files import replacing

COLUMNS: Mapping[str, type] = {
    "case": str,
    "group": str,
    "stratum": str,
    "class": str,
    "state": str,
    "dice": float,
    "iou": float,
    "precision": float,
    "recall": float,
    "hd95": float,
    "asd": float,
    "nsd": float,
    "unit": str,
    "ece": float,
    "nll": float,
    "brier": float,
    "pixels": int,
    "label_pixels": int,
    "predicted_pixels": int,
    "rvd": float,
    "avd": float,
}
"""Name and type of each column, in the order of the CSV file; `score_case` says what each one means, and
`score_volume` what `rvd` and `avd` do."""

OPTIONAL_COLUMNS = ("nsd", "rvd", "avd")
"""Columns that a file may lack: `rvd` and `avd` belong to volumes, `nsd` is younger than some files. They are
NaN then, and where they are NaN throughout they are left out of files."""

STATES = ("ok", "both_empty", "missed", "false_alarm")
"""Whether a class is labelled and predicted: both, neither, only labelled, only predicted."""


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """One row per case and foreground class.

    Args:
        columns: for each name in `COLUMNS` an array (rows,).

    Example:
        >>> row = dict.fromkeys(COLUMNS, 0) | {"case": "a", "class": "lesion", "state": "ok", "dice": 0.5}
        >>> table = ScoreTable.from_rows([row, row | {"case": "b", "dice": 0.75}])
        >>> table["dice"].mean()
        np.float64(0.625)
        >>> table.filter(table["case"] == "b")["dice"].tolist()
        [0.75]
    """

    columns: Mapping[str, npt.NDArray[Any]]

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> ScoreTable:
        """A table from rows that each have all of `COLUMNS`; `OPTIONAL_COLUMNS` may be missing."""
        absent = dict.fromkeys(OPTIONAL_COLUMNS, math.nan)
        collected = [absent | row for row in map(dict, rows)]
        return cls(
            {name: np.array([kind(row[name]) for row in collected], kind) for name, kind in COLUMNS.items()}
        )

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.columns["case"])

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """The column `name` as an array (rows,).

        Raises:
            RunError: there is no such column.
        """
        if name not in self.columns:
            raise RunError(unknown_name("score column", name, self.columns))
        return self.columns[name]

    def filter(self, keep: npt.NDArray[np.bool_]) -> ScoreTable:
        """The rows where `keep` (rows,) is true."""
        return ScoreTable({name: values[keep] for name, values in self.columns.items()})

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows as plain Python values, in order; `OPTIONAL_COLUMNS` only where they are filled."""
        names = self._filled()
        for values in zip(*(self[name].tolist() for name in names), strict=True):
            yield dict(zip(names, values, strict=True))

    def write_csv(self, path: Path | str) -> None:
        """Write the table in one step; numbers keep all digits, undefined scores read `nan`.

        Raises:
            RunError: the file cannot be written.
        """
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._filled())
            writer.writeheader()
            writer.writerows(self.rows())

    def _filled(self) -> list[str]:
        empty = {name for name in OPTIONAL_COLUMNS if np.isnan(self[name]).all()}
        return [name for name in COLUMNS if name not in empty]

    @classmethod
    def read_csv(cls, path: Path | str) -> ScoreTable:
        """The table that `write_csv` wrote.

        Raises:
            RunError: the file is missing, lacks a column or holds something that is no number.
        """
        try:
            with open(path, encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                needed = [name for name in COLUMNS if name not in OPTIONAL_COLUMNS]
                missing = [name for name in needed if name not in (reader.fieldnames or [])]
                if missing:
                    raise RunError(f"{path} is no score table: it has no column {missing[0]!r}")
                return cls.from_rows(reader)
        except FileNotFoundError as error:
            raise RunError(f"{path} is missing: evaluate the run first") from error
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise RunError(f"cannot read the score table {path}: {error}") from error
