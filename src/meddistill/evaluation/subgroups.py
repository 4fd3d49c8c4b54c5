"""Where each row of a comparison fails: in which strata, sizes of the structure, and places of the slice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from meddistill.evaluation.answers import AnswerTable
from meddistill.evaluation.case_scores import CaseScores, Tables
from meddistill.evaluation.mean_interval import GroupSums
from meddistill.evaluation.metrics import nanmean
from meddistill.evaluation.table import ScoreTable

Names = npt.NDArray[np.str_]

MOST_STRATA = 12
"""More strata than that are no subgroups to read."""

FEWEST_SLICES = 3
"""A group with fewer slices has no first, middle and last third."""

_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True)
class Subgroup:
    """The cases of one subgroup in one row.

    Args:
        kind: what cases are divided by, for example `stratum`.
        name: of the subgroup.
        row: name of the row.
        mean: mean over seeds of each run's own mean over the subgroup's cases; NaN where it has none.
        low: lower end of its 95 % interval over groups; NaN with fewer than two.
        high: upper end.
        cases: cases in which the metric is defined.
        groups: groups of these cases.
        failed: share of the cases in which a structure was missed or invented; NaN of answers.
        worst: whether this is the row's worst subgroup of its kind.
    """

    kind: str
    name: str
    row: str
    mean: float
    low: float
    high: float
    cases: int
    groups: int
    failed: float
    worst: bool = False


def subgroups(tables: Tables, scores: CaseScores, *, seed: int = 0, resamples: int = 2000) -> list[Subgroup]:
    """The score of every row in every subgroup, in the order of kinds, subgroups and rows.

    Cases are divided by what the tables know of them: `stratum`, `size` (thirds of the labelled cases by
    labelled pixels) and `slice` (thirds of the slices of a group, where ids end in their numbers). What does
    not divide the cases is left out.

    Args:
        tables: those that `scores` come from.
        scores: of every case.
        seed: of the bootstrap.
        resamples: bootstrap samples of every interval.

    Example:
        >>> from meddistill.evaluation.case_scores import case_scores
        >>> from meddistill.evaluation.table import COLUMNS
        >>> row = dict.fromkeys(COLUMNS, 0) | {"class": "lesion", "state": "ok"}
        >>> cases = [("a", "benign", 0.9), ("b", "benign", 0.7), ("c", "malignant", 0.4)]
        >>> rows = (row | dict(case=c, group=c, stratum=s, dice=d) for c, s, d in cases)
        >>> tables = {"iid": [ScoreTable.from_rows(rows)]}
        >>> [(s.name, round(s.mean, 2), s.worst) for s in subgroups(tables, case_scores(tables, "dice"))]
        [('benign', 0.8, False), ('malignant', 0.4, True)]
    """
    failures = {row: np.stack([_failed(table) for table in seeds]) for row, seeds in tables.items()}
    found = []
    for kind, name, inside in _parts(divisions(next(iter(tables.values()))[0])):
        for row in scores.rows:
            data = GroupSums.of(scores.values[row][:, inside], scores.groups[inside])
            low, high = data.interval(seed=seed, resamples=resamples, bounds=scores.bounds)
            found.append(
                Subgroup(
                    kind=kind,
                    name=name,
                    row=row,
                    mean=float(nanmean(data.means)),
                    low=low,
                    high=high,
                    cases=int((~np.isnan(scores.values[row][:, inside])).any(axis=0).sum()),
                    groups=data.groups,
                    failed=float(nanmean(failures[row][:, inside])),
                )
            )
    return _marked(found, scores.higher_is_better)


def divisions(table: ScoreTable | AnswerTable) -> dict[str, Names]:
    """For each way to divide the cases of a table the subgroup of each, (N,) in the order of the ids.

    A case that belongs nowhere has an empty name.
    """
    cases, groups, strata = _identity(table)
    ways = {"stratum": strata, "slice": slice_thirds(cases, groups)}
    if isinstance(table, ScoreTable):
        ways["size"] = size_thirds(_summed(table, "label_pixels"))
    known = {kind: ways[kind] for kind in ("stratum", "size", "slice") if kind in ways}
    return {
        kind: members
        for kind, members in known.items()
        if 2 <= len(set(members.tolist()) - {""}) <= MOST_STRATA
    }


def size_thirds(pixels: npt.ArrayLike) -> Names:
    """(N,) `small`, `medium` or `large` third of the cases with labelled pixels; those without have no name.

    Example:
        >>> size_thirds([0, 5, 90, 400]).tolist()
        ['', 'small (up to 5 pixels)', 'medium (up to 90 pixels)', 'large (up to 400 pixels)']
    """
    sizes = np.asarray(pixels, float)
    labelled = sizes > 0
    if len(np.unique(sizes[labelled])) < 3:
        return np.full(len(sizes), "")
    order = np.sort(sizes[labelled])
    ends = [order[(len(order) * third - 1) // 3] for third in (1, 2, 3)]
    words = ("small", "medium", "large")
    names = [f"{word} (up to {end:.0f} pixels)" for word, end in zip(words, ends, strict=True)]
    return np.where(labelled, np.array(names)[np.searchsorted(ends, sizes).clip(0, 2)], "")


def slice_thirds(cases: npt.ArrayLike, groups: npt.ArrayLike) -> Names:
    """(N,) third of its group in which a slice lies, by the number at the end of its id; others have no name.

    Example:
        >>> slice_thirds(["p/000", "p/001", "p/002", "q/7"], ["p", "p", "p", "q"]).tolist()
        ['first third', 'middle third', 'last third', '']
    """
    ids, owners = np.asarray(cases, np.str_), np.asarray(groups, np.str_)
    found = [_NUMBER.search(case) for case in ids.tolist()]
    numbers = np.array([np.nan if match is None else float(match[1]) for match in found])
    names = np.full(len(ids), "", dtype="<U12")
    for group in np.unique(owners):
        inside = np.flatnonzero((owners == group) & ~np.isnan(numbers))
        if len(inside) >= FEWEST_SLICES:
            thirds = 3 * np.arange(len(inside)) // len(inside)
            words = np.array(["first third", "middle third", "last third"])
            names[inside[np.argsort(numbers[inside], kind="stable")]] = words[thirds]
    return names


def _identity(table: ScoreTable | AnswerTable) -> tuple[Names, Names, Names]:
    """Ids, groups and strata of the cases, in the order of the ids."""
    if isinstance(table, AnswerTable):
        ordered = table.by_case()
        return ordered.cases, ordered.groups, ordered.strata
    cases, first = np.unique(table["case"], return_index=True)
    return cases, table["group"][first], table["stratum"][first]


def _summed(table: ScoreTable, column: str) -> npt.NDArray[np.float64]:
    """(N,) sum over the classes of each case, in the order of the ids."""
    cases, position = np.unique(table["case"], return_inverse=True)
    weights = table[column].astype(float)
    return np.bincount(position, weights=weights, minlength=len(cases)).astype(np.float64)


def _failed(table: ScoreTable | AnswerTable) -> npt.NDArray[np.float64]:
    """(N,) 1 where a structure of the case was missed or invented, else 0; NaN of answers."""
    if isinstance(table, AnswerTable):
        return np.full(len(table), np.nan)
    cases, position = np.unique(table["case"], return_inverse=True)
    failed = np.isin(table["state"], ["missed", "false_alarm"])
    return (np.bincount(position, weights=failed, minlength=len(cases)) > 0).astype(float)


def _parts(ways: Mapping[str, Names]) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Kind, name and members of every subgroup: strata by name, thirds from the first to the last."""
    starts = {"size": ("small", "medium", "large"), "slice": ("first", "middle", "last")}
    for kind, members in ways.items():
        names = sorted(set(members.tolist()) - {""})
        if kind in starts:
            names.sort(key=lambda name, order=starts[kind]: order.index(name.split()[0]))  # type: ignore[misc]
        for name in names:
            yield kind, name, members == name


def _marked(found: list[Subgroup], higher_is_better: bool) -> list[Subgroup]:
    """The same with the worst subgroup of each row and kind marked."""
    worst: dict[tuple[str, str], Subgroup] = {}
    for one in found:
        known = worst.get(key := (one.kind, one.row))
        if not np.isnan(one.mean) and (known is None or _worse(one, known, higher_is_better)):
            worst[key] = one
    return [replace(one, worst=one is worst.get((one.kind, one.row))) for one in found]


def _worse(one: Subgroup, other: Subgroup, higher_is_better: bool) -> bool:
    return one.mean < other.mean if higher_is_better else one.mean > other.mean
