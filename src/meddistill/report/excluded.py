"""What the report says of the cases of a transferal set that were left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meddistill.report.numbers import number
from meddistill.report.verdict import mapping


@dataclass(frozen=True)
class RuleRow:
    """One rule of exclusion: its name, what it removes, and how many cases, in order and by itself."""

    name: str
    removes: str
    removed: str
    alone: str


@dataclass(frozen=True)
class ExclusionView:
    """How many cases were kept, a row for each rule, and what the selection split measures."""

    kept: str
    total: str
    rules: tuple[RuleRow, ...]
    selection: str


def exclusion_view(found: Mapping[str, Any], environment: Mapping[str, Any]) -> ExclusionView | None:
    """The view of `exclusion.json`; None where nothing could be excluded.

    Args:
        found: the parsed file.
        environment: says what the Dice on the selection split means.

    Example:
        >>> rule = {"name": "target_pixels", "removes": "small ones", "removed": 3, "alone": 4}
        >>> view = exclusion_view({"kept": 7, "total": 10, "rules": [rule]}, {})
        >>> view.kept, view.total, view.rules[0].removed, view.selection
        ('7', '10', '3', '')
    """
    if not found:
        return None
    rules = tuple(
        RuleRow(
            str(rule.get("name")),
            str(rule.get("removes") or ""),
            number(rule.get("removed"), 0),
            number(rule.get("alone"), 0),
        )
        for rule in map(mapping, found.get("rules") or ())
    )
    selection = environment.get("selection")
    words = selection if isinstance(selection, str) else ""
    return ExclusionView(number(found.get("kept"), 0), number(found.get("total"), 0), rules, words)
