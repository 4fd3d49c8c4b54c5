"""Failures by subgroup on the page of a comparison: one table a kind of subgroup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meddistill.evaluation.cautions import ENOUGH_GROUPS
from meddistill.evaluation.subgroups import Subgroup
from meddistill.report.numbers import ABSENT, interval, metric_label, number, score
from meddistill.report.reading import to_number
from meddistill.report.tables import Cell, Column, Table

KINDS: Mapping[str, str] = {
    "stratum": "By class or stratum",
    "size": "By size of the labelled structure",
    "slice": "By place of the slice in its volume",
}
"""Headings of the kinds of subgroups."""


@dataclass(frozen=True)
class SubgroupParts:
    """What the page shows: a table for each kind by name, what it holds, and a warning of small ones."""

    tables: Mapping[str, Table]
    explanation: str
    caution: str


def subgroup_parts(found: Sequence[Subgroup], name: str, unit: str = "") -> SubgroupParts | None:
    """The parts for the subgroups in the metric `name`; None without any."""
    if not found:
        return None
    kinds = dict.fromkeys(one.kind for one in found)
    tables = {kind: subgroup_table([one for one in found if one.kind == kind], name, unit) for kind in kinds}
    return SubgroupParts(tables, _explanation(found, name, unit), caution(found))


def subgroup_table(found: Sequence[Subgroup], name: str, unit: str = "") -> Table:
    """One line a subgroup, one column a row of the comparison; the worst subgroup of each row is marked."""
    rows = dict.fromkeys(one.row for one in found)
    columns = (
        Column("Subgroup"),
        Column("Cases", "and the groups that they belong to", numeric=True),
        *(Column(row, f"{metric_label(name, unit)} of this row", numeric=True) for row in rows),
    )
    lines = []
    for subgroup in dict.fromkeys(one.name for one in found):
        members = {one.row: one for one in found if one.name == subgroup}
        lines.append(
            (
                Cell(subgroup, subgroup),
                _size(list(members.values())),
                *(_cell(members[row], name) for row in rows),
            )
        )
    caption = f"{KINDS[found[0].kind]}: mean {metric_label(name, unit)} with 95 % CI"
    return Table(caption, columns, tuple(lines))


def caution(found: Sequence[Subgroup]) -> str:
    """One sentence that names the subgroups with too few groups of cases; nothing where there are none.

    Example:
        >>> caution([Subgroup("stratum", "benign", "iid", 0.8, 0.7, 0.9, 12, 9, 0.0)])
        'Too few cases to judge by (fewer than 20 groups): benign (9).'
    """
    sizes: dict[str, int] = {}
    for one in found:
        sizes[one.name] = max(one.groups, sizes.get(one.name, 0))
    small = [f"{name} ({groups})" for name, groups in sizes.items() if groups < ENOUGH_GROUPS]
    if not small:
        return ""
    return f"Too few cases to judge by (fewer than {ENOUGH_GROUPS} groups): {', '.join(small)}."


def _explanation(found: Sequence[Subgroup], name: str, unit: str) -> str:
    words = f"Each number is the mean {metric_label(name, unit)} over seeds and cases, with its 95 % interval"
    if all(to_number(one.failed) is None for one in found):
        return f"{words}."
    return f"{words} and the share of cases in which a structure was missed or invented."


def _size(members: Sequence[Subgroup]) -> Cell:
    cases, groups = (max(getattr(one, name) for one in members) for name in ("cases", "groups"))
    note = "" if groups == cases else f"{groups} groups"
    return Cell(number(cases, 0), cases, note=note, stars="few" if groups < ENOUGH_GROUPS else "")


def _cell(one: Subgroup, name: str) -> Cell:
    ends = interval({"low": one.low, "high": one.high}, name)
    failed = "" if to_number(one.failed) is None else f"{100 * one.failed:.0f} % failed"
    notes = [part for part in (ends, failed) if part not in ("", ABSENT)]
    return Cell(
        score(one.mean, name), to_number(one.mean), note="\n".join(notes), stars="worst" if one.worst else ""
    )
