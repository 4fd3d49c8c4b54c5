"""Checks of single cases: can they be read, and do image and label fit together and into the label set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from meddistill.data._inspect_cases import CaseFacts
from meddistill.data._inspect_types import Finding, Level
from meddistill.data.case import IGNORE_INDEX, Source, is_labelled
from meddistill.data.task import answers_images

_Check = tuple[Level, str, str, Callable[[CaseFacts], Iterable[str]]]
"""Level, kind and words of a finding, and what yields its items of one case."""


def check_cases(source: Source, facts: Sequence[CaseFacts]) -> Iterator[Finding]:
    """All findings that concern one case at a time."""
    checks: tuple[_Check, ...] = (
        ("error", "unreadable", "cannot be read; mend or remove the files", lambda f: f.problems),
        (
            "error",
            "image-shape",
            f"not of {source.in_channels} channel(s) and {source.dims} axes",
            lambda f: _shape_misfit(source, f),
        ),
        ("error", "value-range", "with values that are not finite or lie outside 0..1", _value_misfit),
        (
            "error",
            "size-mismatch",
            "whose label differs in size; resample the label",
            lambda f: () if answers_images(source) else _size_misfit(f),
        ),
        (
            "error",
            "label-value",
            f"with label values that are not among 0..{len(source.class_names) - 1} and {IGNORE_INDEX}",
            lambda f: _label_misfit(source, f),
        ),
        ("warning", "constant-image", "of one grey value; remove them", _constant),
    )
    if is_labelled(source):
        words = f"without any {_labelled(source)}; they can teach nothing alone"
        checks += (("note", "unlabelled", words, _unlabelled),)
    for level, kind, words, check in checks:
        items = [item for one in facts for item in check(one)]
        if items:
            yield Finding(level, kind, f"{_cases(len(items))} {words}", tuple(items))
    yield from _check_names(facts)
    yield from _check_classes(source, facts) if is_labelled(source) else _no_labels(source)
    yield from _check_empty(facts)


def by(size: Sequence[int]) -> str:
    """A size in words.

    Example:
        >>> by((256, 320))
        '256 x 320'
    """
    return " x ".join(str(length) for length in size)


def _labelled(source: Source) -> str:
    return "label" if answers_images(source) else "labelled pixel"


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"


def _shape_misfit(source: Source, facts: CaseFacts) -> Iterator[str]:
    if facts.image is not None:
        shape = facts.image.shape
        if len(shape) != source.dims + 1 or shape[0] != source.in_channels:
            yield f"{facts.case.id}: image of {by(shape)}"


def _value_misfit(facts: CaseFacts) -> Iterator[str]:
    if facts.image is not None and not facts.image.in_range:
        yield facts.case.id


def _size_misfit(facts: CaseFacts) -> Iterator[str]:
    if facts.image is not None and facts.label is not None and facts.image.shape[1:] != facts.label.size:
        yield f"{facts.case.id}: image {by(facts.image.shape[1:])}, label {by(facts.label.size)}"


def _label_misfit(source: Source, facts: CaseFacts) -> Iterator[str]:
    known = {IGNORE_INDEX, *range(len(source.class_names))}
    wrong = sorted(set(facts.label.counts) - known) if facts.label is not None else []
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        yield f"{facts.case.id}: {', '.join(map(str, wrong[:5]))}{more}"


def _constant(facts: CaseFacts) -> Iterator[str]:
    if facts.image is not None and facts.image.constant:
        yield facts.case.id


def _unlabelled(facts: CaseFacts) -> Iterator[str]:
    if facts.label is not None and not facts.label.known:
        yield facts.case.id


def _check_names(facts: Sequence[CaseFacts]) -> Iterator[Finding]:
    twice = [name for name, count in Counter(one.case.id for one in facts).items() if count > 1]
    if twice:
        yield Finding("error", "same-id", f"{len(twice)} case ids are used twice; rename them", tuple(twice))


def _check_classes(source: Source, facts: Sequence[CaseFacts]) -> Iterator[Finding]:
    seen = {value for one in facts if one.label is not None for value in one.label.counts}
    absent = tuple(name for value, name in enumerate(source.class_names) if value not in seen)
    if absent and seen:
        yield Finding("warning", "absent-class", "classes that no label contains", absent)


def _no_labels(source: Source) -> Iterator[Finding]:
    """What is to say of images that are meant to have no labels."""
    message = "the images have no labels: teachers annotate them, and nothing can be scored on them"
    yield Finding("note", "no-labels", message)
    left_out = int(getattr(source, "left_out", 0))
    if left_out:
        message = f"{left_out} files named as masks (<name>_mask) were left out and not opened"
        yield Finding("note", "masks-left-out", message)


def _check_empty(facts: Sequence[CaseFacts]) -> Iterator[Finding]:
    labels = [(one.case, one.label) for one in facts if one.label is not None]
    totals = Counter(case.stratum for case, _ in labels)
    empty = Counter(case.stratum for case, label in labels if label.empty)
    if empty:
        items = tuple(f"{name or '(no stratum)'}: {n} of {totals[name]}" for name, n in sorted(empty.items()))
        message = (
            f"{_cases(empty.total())} with a label that holds background alone; mind how scores count them"
        )
        yield Finding("note", "empty-label", message, items)
