"""Labels of whole images: how many images of each class there are, and in which split one is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from meddistill.data._inspect_cases import CaseFacts
from meddistill.data._inspect_types import Finding, Row, Table
from meddistill.data.case import IGNORE_INDEX, SPLITS, Source
from meddistill.data.task import answers_images, task_of

Places = Mapping[str, Sequence[str]]


def answers_table(source: Source, facts: Sequence[CaseFacts], places: Places) -> Table:
    """Images of each class (or with each label) in each split and in all, and their share."""
    splits = [name for name in SPLITS if any(name in names for names in places.values())]
    counts = _counts(facts, places)
    known = sum(one.label is not None and one.label.known for one in facts)
    rows: list[Row] = [
        (value, name, *(counts[column, value] for column in (*splits, "total")), _share(counts, value, known))
        for value, name in enumerate(source.class_names)
    ]
    unknown = [counts[column, IGNORE_INDEX] for column in (*splits, "total")]
    if unknown[-1]:
        rows.append((IGNORE_INDEX, "(unknown)", *unknown, ""))
    kind = "label" if task_of(source) == "multi_label" else "class"
    return Table("Labels of images", ("value", kind, *splits, "total", "share"), tuple(rows))


def check_answers(source: Source, facts: Sequence[CaseFacts], places: Places) -> Iterator[Finding]:
    """Classes of which a split has no image; maps are not looked at."""
    if not answers_images(source):
        return
    counts = _counts(facts, places)
    missing = tuple(
        f"{split}: {name}"
        for split in SPLITS
        if any(split in names for names in places.values())
        for value, name in enumerate(source.class_names)
        if counts["total", value] and not counts[split, value]
    )
    if missing:
        message = "classes are missing in a split; scores of them are undefined there, and cannot be learnt"
        yield Finding("warning", "class-missing-in-split", message, missing)


def _counts(facts: Sequence[CaseFacts], places: Places) -> Counter[tuple[str, int]]:
    """Images by split (or `total`) and label."""
    counts: Counter[tuple[str, int]] = Counter()
    for one in facts:
        if one.label is not None:
            columns = ("total", *dict.fromkeys(places.get(one.case.id, ())))
            counts.update((column, value) for column in columns for value in one.label.counts)
    return counts


def _share(counts: Counter[tuple[str, int]], value: int, known: int) -> str:
    return f"{counts['total', value] / known:.2%}" if known else ""
