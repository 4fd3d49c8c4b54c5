"""What an inspection says of mixed supervision: who keeps full labels, and what the weak ones cover."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from meddistill.data._inspect_types import Finding, Row, Table
from meddistill.data.cache import CaseCache
from meddistill.data.case import Case
from meddistill.data.grouping import group_of
from meddistill.data.resize import resize_label
from meddistill.data.weak.share import PixelCount, count_classes, count_pixels


@dataclass(frozen=True)
class WeakFacts:
    """A training case in short.

    Args:
        case: which one.
        full: it keeps its full label.
        weak: pixels of its weak label.
        truth: pixels of its full label by class, whether training may see it or not.
    """

    case: Case
    full: bool
    weak: PixelCount
    truth: Counter[int]

    @property
    def share(self) -> float:
        """Labelled pixels among all, 0..1."""
        return self.weak.labelled / self.weak.total


def examine_weak(cache: CaseCache) -> list[WeakFacts]:
    """The facts of every case of a cache that was made with a supervision, in its order."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda index: _facts(cache, index), range(len(cache))))


def _facts(cache: CaseCache, index: int) -> WeakFacts:
    case = cache.cases[index]
    assert cache.full is not None
    size = tuple(cache.weak_map(index).shape)
    label = resize_label(torch.from_numpy(cache.source.read_label(case)), size)
    return WeakFacts(case, bool(cache.full[index]), count_pixels(cache, index), count_classes(label.numpy()))


def weak_tables(facts: Sequence[WeakFacts], class_names: Sequence[str]) -> Iterator[Table]:
    """Full and weak cases, labelled pixels by class, and labelled pixels by case."""
    yield _supervision(facts)
    yield _by_class(facts, class_names)
    yield _by_case(facts)


def weak_findings(facts: Sequence[WeakFacts], class_names: Sequence[str]) -> Iterator[Finding]:
    """Cases without a weak label, and classes that no weak label contains."""
    bare = tuple(one.case.id for one in facts if not one.full and not one.weak.labelled)
    if bare:
        others = sum(not one.full for one in facts)
        message = (
            f"{len(bare)} of {others} weak cases have no labelled pixel; only terms without labels use it"
        )
        yield Finding("note", "no-weak-label", message, bare)
    seen = {value for one in facts for value in one.weak.classes}
    absent = tuple(name for value, name in enumerate(class_names) if value and value not in seen)
    if absent and seen:
        yield Finding("warning", "absent-weak-class", "classes that no weak label contains", absent)
    if seen and 0 not in seen:
        message = "no weak label marks background: partial cross-entropy alone then calls all foreground"
        yield Finding("note", "foreground-only", message)


def _supervision(facts: Sequence[WeakFacts]) -> Table:
    rows: list[Row] = []
    for name, full in (("full", True), ("weak", False)):
        members = [one for one in facts if one.full == full]
        groups = {group_of(one.case) for one in members}
        bare = sum(not one.weak.labelled for one in members)
        rows.append((name, len(groups), len(members), bare))
    columns = ("labels", "groups", "cases", "without weak label")
    return Table("Supervision of the training split", columns, tuple(rows))


def _by_class(facts: Sequence[WeakFacts], class_names: Sequence[str]) -> Table:
    pixels = sum(one.weak.total for one in facts)
    rows: list[Row] = []
    for value, name in enumerate(class_names):
        labelled = sum(one.weak.classes[value] for one in facts)
        there = sum(one.truth[value] for one in facts)
        cases = sum(bool(one.weak.classes[value]) for one in facts)
        of_class = f"{labelled / there:.2%}" if there else ""
        rows.append((value, name, cases, labelled, f"{labelled / pixels:.3%}", of_class))
    labelled = sum(one.weak.labelled for one in facts)
    cases = sum(bool(one.weak.labelled) for one in facts)
    rows.append(("all", "", cases, labelled, f"{labelled / pixels:.3%}", ""))
    columns = ("value", "class", "cases", "pixels", "share of all pixels", "relative to the class")
    return Table("Weakly labelled pixels by class", columns, tuple(rows))


def _by_case(facts: Sequence[WeakFacts]) -> Table:
    quantiles = ("least", "quarter", "median", "three quarters", "most")
    shares = np.quantile([one.share for one in facts], np.linspace(0, 1, len(quantiles)))
    counts = np.quantile([one.weak.labelled for one in facts], np.linspace(0, 1, len(quantiles)))
    rows: list[Row] = [
        ("share", *(f"{share:.3%}" for share in shares)),
        ("pixels", *(f"{count:g}" for count in counts)),
    ]
    return Table("Weakly labelled pixels of a case", ("quantile", *quantiles), tuple(rows))
