"""What a corruption sweep found: mean scores over kinds and severities, and differences between rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from meddistill.files import csv_text

CLEAN, EVERY = "clean", "all"


@dataclass(frozen=True)
class CorruptedMean:
    """The mean score of a row over some kinds and severities.

    Args:
        row: name of the row.
        kind: name of the kind, `all` for the mean over kinds, `clean` for the images as they are.
        severity: 1 to 5, 0 for the images as they are, None for the mean over severities.
        mean: mean over seeds.
        low: lower end of its 95 % interval, over groups of cases.
        high: upper end.
        seeds_low: lower end of the interval over cases and seeds; NaN with one seed.
        seeds_high: its upper end.
        difference: of the mean from the baseline's; NaN for the baseline.
        difference_low: lower end of its 95 % interval, case by case.
        difference_high: upper end.
        difference_seeds_low: lower end of the interval over cases and seeds; NaN with one seed.
        difference_seeds_high: its upper end.
        p_value: two-sided, of the sign-flip test of the mean difference.
        p_holm: the same, adjusted for the rows that are compared with the baseline.
    """

    row: str
    kind: str
    severity: int | None
    mean: float
    low: float
    high: float
    seeds_low: float = np.nan
    seeds_high: float = np.nan
    difference: float = np.nan
    difference_low: float = np.nan
    difference_high: float = np.nan
    difference_seeds_low: float = np.nan
    difference_seeds_high: float = np.nan
    p_value: float = np.nan
    p_holm: float = np.nan


@dataclass(frozen=True)
class Robustness:
    """What a sweep found.

    Args:
        metric: the score, `dice` or `accuracy`.
        baseline: the first row.
        rows: names of the rows.
        kinds: what was done to the images.
        severities: in which strengths.
        means: one for each row on the images as they are, over kinds in each severity and over all, and of
            each kind over its severities.
        relative: for each row the mean over all corruptions as a share of the score without them.
        corruption_error: for each row the mean corruption error as a share of the baseline's.
    """

    metric: str
    baseline: str
    rows: tuple[str, ...]
    kinds: tuple[str, ...]
    severities: tuple[int, ...]
    means: tuple[CorruptedMean, ...]
    relative: Mapping[str, float]
    corruption_error: Mapping[str, float]

    def of(self, row: str, kind: str = EVERY, severity: int | None = None) -> CorruptedMean:
        """The mean of a row over a kind (all of them) at a severity (over all of them)."""
        return next(m for m in self.means if (m.row, m.kind, m.severity) == (row, kind, severity))

    def to_csv(self) -> str:
        """A line for each mean; an empty severity is the mean over severities."""
        return csv_text(list(CorruptedMean.__dataclass_fields__), map(asdict, self.means))

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain lists and numbers; write it with `meddistill.files.write_json`."""
        return asdict(self)
