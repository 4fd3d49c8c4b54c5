"""The tables of an inspection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

from meddistill.data._inspect_answers import answers_table
from meddistill.data._inspect_cases import CaseFacts
from meddistill.data._inspect_checks import by
from meddistill.data._inspect_overlap import Twins
from meddistill.data._inspect_types import Row, Table
from meddistill.data._inspect_volumes import volume_tables
from meddistill.data.case import IGNORE_INDEX, SPLITS, Source
from meddistill.data.task import answers_images


def make_tables(
    source: Source,
    facts: Sequence[CaseFacts],
    places: Mapping[str, Sequence[str]],
    twins: Sequence[Twins],
) -> Iterator[Table]:
    """Counts, sizes, labels, grids of volumes and duplicates."""
    yield _cases(source, places)
    sizes = [one.image.shape[1:] for one in facts if one.image is not None]
    sizes = [size for size in sizes if len(size) == source.dims]
    if sizes:
        yield _sizes(sizes)
    if any(one.label is not None and one.label.known for one in facts):
        yield answers_table(source, facts, places) if answers_images(source) else _labels(source, facts)
    yield from volume_tables(source, facts)
    if twins:
        yield _twins(twins)


def _cases(source: Source, places: Mapping[str, Sequence[str]]) -> Table:
    splits = [name for name in SPLITS if any(name in names for names in places.values())]
    counts: Counter[tuple[str, str]] = Counter()
    for case in source.cases:
        counts.update((case.stratum, name) for name in ("total", *places.get(case.id, ())))
    columns = [*splits, "total"]
    strata = sorted({case.stratum for case in source.cases})
    rows: list[Row] = [
        (name or "(no stratum)", *(counts[name, column] for column in columns)) for name in strata
    ]
    if len(strata) > 1:
        sums = (sum(counts[name, column] for name in strata) for column in columns)
        rows.append(("all", *sums))
    return Table("Cases", ("stratum", *columns), tuple(rows))


def _sizes(sizes: Sequence[tuple[int, ...]]) -> Table:
    distinct = Counter(sizes)
    axes = ("height", "width") if len(sizes[0]) == 2 else ("axis 0", "axis 1", "axis 2")
    rows = tuple(
        (axis, min(lengths), median(lengths), max(lengths))
        for axis, lengths in zip(axes, zip(*sizes, strict=True), strict=True)
    )
    most, count = distinct.most_common(1)[0]
    title = f"Image sizes ({len(distinct)} distinct; {by(most)} in {count} of {len(sizes)})"
    return Table(title, ("pixels", "min", "median", "max"), rows)


def _labels(source: Source, facts: Sequence[CaseFacts]) -> Table:
    pixels: Counter[int] = Counter()
    cases: Counter[int] = Counter()
    for one in facts:
        if one.label is not None:
            pixels.update(one.label.counts)
            cases.update(one.label.counts.keys())
    names = {IGNORE_INDEX: "(ignored)", **dict(enumerate(source.class_names))}
    known = sum(count for value, count in pixels.items() if value != IGNORE_INDEX)
    rows = tuple(
        (
            value,
            names.get(value, "(unknown)"),
            cases[value],
            pixels[value],
            "" if value == IGNORE_INDEX else f"{pixels[value] / known:.2%}",
        )
        for value in sorted(pixels)
    )
    return Table("Label values", ("value", "class", "cases", "pixels", "share"), rows)


def _twins(twins: Sequence[Twins]) -> Table:
    tests: dict[str, Callable[[Twins], bool]] = {
        "across splits": lambda pair: pair.across,
        "within a split": lambda pair: all(pair.splits) and not pair.across,
        "different strata": lambda pair: not pair.same_stratum,
        "different labels": lambda pair: not pair.same_label,
    }
    rows: list[Row] = []
    for name, exact in (("equal pixels", True), ("near", False)):
        pairs = [pair for pair in twins if pair.exact == exact]
        if pairs:
            rows.append((name, len(pairs), *(sum(map(test, pairs)) for test in tests.values())))
    return Table("Duplicates", ("kind", "pairs", *tests), tuple(rows))
