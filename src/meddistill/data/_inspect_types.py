"""What an inspection is made of: findings and tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["error", "warning", "note"]
"""`error`: do not train on this; `warning`: look before you train; `note`: worth knowing."""

LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing an inspection found.

    Args:
        level: how bad it is.
        kind: short fixed name of the check, for example `size-mismatch`.
        message: one line: what is wrong and what to do.
        items: the cases, pairs or groups concerned, one line each.
    """

    level: Level
    kind: str
    message: str
    items: tuple[str, ...] = ()


_READABLE = frozenset({"conflicting-duplicate", "duplicate-across-splits"})
"""Errors of data that can be read all the same."""

Row = tuple[str | int | float, ...]
"""One line of a table."""


@dataclass(frozen=True)
class Table:
    """Counts or sizes under a title; every row is as long as `columns`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Inspection:
    """The result of `inspect_source`.

    Args:
        num_cases: how many cases the source has.
        tables: counts, sizes, label values, empty labels and duplicates.
        findings: worst first.
    """

    num_cases: int
    tables: tuple[Table, ...]
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """True when at least one finding is an error."""
        return any(finding.level == "error" for finding in self.findings)

    @property
    def can_be_read(self) -> bool:
        """True when no error keeps the cases from being read and divided; equal images may contradict."""
        return all(found.kind in _READABLE for found in self.findings if found.level == "error")

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """The findings of one check.

        Example:
            >>> inspection = Inspection(2, (), (Finding("warning", "duplicate", "1 pair"),))
            >>> [finding.level for finding in inspection.of_kind("duplicate")], inspection.has_errors
            (['warning'], False)
        """
        return tuple(finding for finding in self.findings if finding.kind == kind)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain dictionaries, lists, texts and numbers, ready for `json.dumps`."""
        return {"has_errors": self.has_errors, **asdict(self)}
