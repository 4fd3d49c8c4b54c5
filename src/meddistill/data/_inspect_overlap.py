"""Checks between cases: what lies in two splits, and what is there twice."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from meddistill.data._inspect_cases import CaseFacts
from meddistill.data._inspect_types import Finding
from meddistill.data.case import SPLITS, Case, Source, Split
from meddistill.data.duplicates import find_duplicates
from meddistill.data.grouping import group_of

_SERIES = re.compile(r"^(?P<prefix>.*\w.*)[_-][A-Za-z]*\d+$")


@dataclass(frozen=True)
class Twins:
    """Two cases that show the same.

    Args:
        cases: both of them.
        splits: where each lies; "" for none.
        similarity: 1.0 for equal pixels, else the correlation.
        exact: the pixels are equal.
        same_label: both label maps are known and equal, or one is unknown; True for near-duplicates.
    """

    cases: tuple[Case, Case]
    splits: tuple[str, str]
    similarity: float
    exact: bool
    same_label: bool

    @property
    def across(self) -> bool:
        """They lie in two different splits."""
        return all(self.splits) and self.splits[0] != self.splits[1]

    @property
    def same_stratum(self) -> bool:
        """Their strata agree."""
        return self.cases[0].stratum == self.cases[1].stratum

    def __str__(self) -> str:
        places = [
            f"{case.id} ({split})" if split else case.id
            for case, split in zip(self.cases, self.splits, strict=True)
        ]
        return (
            f"{places[0]} = {places[1]}"
            if self.exact
            else f"{places[0]} ~ {places[1]}: {self.similarity:.2f}"
        )


def splits_of(source: Source, split: Split | None) -> dict[str, list[str]]:
    """The names of the splits of each case id; from the source itself when `split` is None."""
    places: dict[str, list[str]] = defaultdict(list)
    if split is None:
        for case in source.cases:
            if case.split:
                places[case.id].append(case.split)
    else:
        for name, cases in split.cases.items():
            for case in cases:
                places[case.id].append(name)
    return dict(places)


def find_twins(facts: Sequence[CaseFacts], places: Mapping[str, Sequence[str]]) -> list[Twins]:
    """All exact and near duplicates among the cases that could be read."""
    printed = [
        (one, one.image.prints) for one in facts if one.image is not None and one.image.prints is not None
    ]
    twins = []
    for pair in find_duplicates([prints for _, prints in printed]):
        first, second = printed[pair.first][0], printed[pair.second][0]
        twins.append(
            Twins(
                (first.case, second.case),
                (_first(places.get(first.case.id)), _first(places.get(second.case.id))),
                pair.similarity,
                pair.exact,
                same_label=not pair.exact or _same_label(first, second),
            )
        )
    return twins


def check_splits(source: Source, places: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Cases and groups that lie in two splits, cases in none, and groups that the names suggest."""
    if not places:
        yield Finding("note", "no-split", "no split was given, so nothing could be checked across splits")
    shared = tuple(f"{name}: {', '.join(names)}" for name, names in places.items() if len(set(names)) > 1)
    if shared:
        yield Finding("error", "case-in-two-splits", f"{len(shared)} cases lie in two splits", shared)
    leaks = tuple(_divided(_by_group(source.cases), places))
    if leaks:
        message = f"{len(leaks)} groups leak between splits; keep all cases of a group in one split"
        yield Finding("error", "group-leak", message, leaks)
    left = tuple(case.id for case in source.cases if places and case.id not in places)
    if left:
        yield Finding("note", "in-no-split", f"{len(left)} cases are in no split", left)
    yield from _check_series(source.cases, places)


def check_twins(twins: Sequence[Twins], places: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Exact and near duplicates, by how much harm they do."""
    exact, near = [pair for pair in twins if pair.exact], [pair for pair in twins if not pair.exact]
    conflict = [pair for pair in exact if not (pair.same_stratum and pair.same_label)]
    if conflict:
        message = f"{_pairs(conflict)} with equal pixels but different labels or strata; drop the wrong one"
        yield Finding("error", "conflicting-duplicate", message, _lines(conflict))
    across = [pair for pair in exact if pair.across]
    if across:
        message = f"{_pairs(across)} with equal pixels in different splits; keep one of each"
        yield Finding("error", "duplicate-across-splits", message, _lines(across))
    plain = [pair for pair in exact if pair not in conflict and not pair.across]
    if plain:
        yield Finding("warning", "duplicate", f"{_pairs(plain)} with equal pixels; keep one", _lines(plain))
    yield from _check_near(near, places)


def _check_near(near: Sequence[Twins], places: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    across = [pair for pair in near if pair.across]
    if across:
        message = (
            f"{_pairs(across)} of near-duplicates in different splits ({_reach(across, places)}); "
            "give both of a pair one group and split again"
        )
        yield Finding("warning", "near-duplicate-across-splits", message, _lines(across))
    strata = [pair for pair in near if not pair.same_stratum]
    if strata:
        message = (
            f"{_pairs(strata)} of near-duplicates in different strata; one of the two may be filed wrongly"
        )
        yield Finding("warning", "near-duplicate-conflict", message, _lines(strata))
    rest = [pair for pair in near if not pair.across and pair.same_stratum]
    if rest:
        yield Finding("note", "near-duplicate", f"{_pairs(rest)} of other near-duplicates", _lines(rest))


def _reach(across: Sequence[Twins], places: Mapping[str, Sequence[str]]) -> str:
    """How much of each split but train has a near-duplicate elsewhere."""
    sizes = {name: sum(name in names for names in places.values()) for name in SPLITS}
    touched: dict[str, set[str]] = defaultdict(set)
    for pair in across:
        for case, split in zip(pair.cases, pair.splits, strict=True):
            touched[split].add(case.id)
    held_out = [name for name in SPLITS if name != "train" and name in touched]
    return ", ".join(f"{len(touched[name])} of {sizes[name]} cases of {name}" for name in held_out)


def _check_series(cases: Sequence[Case], places: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Names like ABCD_012 of cases without groups: probably many images of one patient."""
    if any(group_of(case) != case.id for case in cases):
        return
    series: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        match = _SERIES.match(case.id.rpartition("/")[2])
        if match:
            series[match["prefix"]].append(case)
    repeated = {prefix: members for prefix, members in series.items() if len(members) > 1}
    if len(repeated) < 5 or sum(map(len, repeated.values())) < len(cases) / 2:
        return
    items = tuple(_divided(repeated, places)) or tuple(f"{p}: {len(m)} cases" for p, m in repeated.items())
    divided = "; some are divided between splits" if any(_divided(repeated, places)) else ""
    message = (
        f"names suggest {len(series)} groups, perhaps patients, but none are given{divided}; name the groups"
    )
    yield Finding("warning" if divided else "note", "groups-by-name", message, items)


def _by_group(cases: Iterable[Case]) -> dict[str, list[Case]]:
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        groups[group_of(case)].append(case)
    return groups


def _divided(groups: Mapping[str, Sequence[Case]], places: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name, cases in groups.items():
        counts = {split: sum(split in places.get(case.id, ()) for case in cases) for split in SPLITS}
        present = [f"{count} in {split}" for split, count in counts.items() if count]
        if len(present) > 1 and len(cases) > 1:
            yield f"{name}: {', '.join(present)}"


def _same_label(first: CaseFacts, second: CaseFacts) -> bool:
    a, b = first.label, second.label
    return a is None or b is None or not (a.known and b.known) or a.digest == b.digest


def _first(names: Sequence[str] | None) -> str:
    return names[0] if names else ""


def _pairs(twins: Sequence[Twins]) -> str:
    return "1 pair" if len(twins) == 1 else f"{len(twins)} pairs"


def _lines(twins: Sequence[Twins]) -> tuple[str, ...]:
    return tuple(map(str, twins))
