"""Whether a class can be told from what can hold no disease: the border of the images, or their files.

Where it can, a network may learn the source of an image in place of the disease, and score well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from meddistill.data._glance import FRAME, SIDE, Glance, file_facts
from meddistill.data._inspect_cases import CaseFacts
from meddistill.data._inspect_types import Finding, Row, Table
from meddistill.data.case import Source
from meddistill.data.grouping import group_of
from meddistill.data.task import task_of
from meddistill.data.told_apart import Interval, ToldApart, tell_apart

FEWEST_GROUPS = 20
"""Classes of fewer groups are not looked at."""

MOST_IMAGES = 2000
"""Of more images than that as many of each class are drawn, from all its groups."""

SUSPICIOUS = 0.7
"""A class is reported where the lower end of the interval of its AUROC lies above this."""

_SUSPECTS = ("border", "file")
_COLUMNS = {"border": "border", "file": "file", "histogram": "grey histogram", "whole": "whole image"}


@dataclass(frozen=True)
class Shortcuts:
    """How well the classes are told apart by what is seen of the images.

    Args:
        classes: the names of the classes that were looked at.
        left_out: those of too few groups.
        images: how many images were looked at.
        groups: of how many groups.
        seen: what was seen, `border`, `file`, `histogram` or `whole`, and the scores; empty with fewer than
            two classes.
    """

    classes: tuple[str, ...]
    left_out: tuple[str, ...]
    images: int = 0
    groups: int = 0
    seen: Mapping[str, ToldApart] = field(default_factory=dict)


def find_shortcuts(source: Source, facts: Sequence[CaseFacts]) -> Shortcuts | None:
    """The scores of a source with one class an image; None for other sources."""
    if task_of(source) != "classification":
        return None
    members = _by_class(source, facts)
    enough = {name: seen for name, seen in members.items() if _groups(seen) >= FEWEST_GROUPS}
    names, few = tuple(enough), tuple(name for name in members if name not in enough)
    if len(names) < 2:
        return Shortcuts(names, few)
    limit = max(FEWEST_GROUPS, MOST_IMAGES // len(names))
    drawn = [_drawn(seen, limit) for seen in enough.values()]
    images = [one for part in drawn for one in part]
    labels = np.repeat(np.arange(len(drawn)), [len(part) for part in drawn])
    groups = [group for group, _ in images]
    views = _views([seen for _, seen in images])
    scores = {name: tell_apart(view, labels, groups) for name, view in views.items()}
    return Shortcuts(names, few, len(images), len(set(groups)), scores)


def shortcut_tables(found: Shortcuts | None) -> Iterator[Table]:
    """How well all classes are told apart by each thing seen, and how well each class is."""
    if found is None or not found.seen:
        return
    chance = 1 / len(found.classes)
    title = (
        f"Told apart by a linear classifier ({found.images} images of {found.groups} groups, 5 folds of "
        f"groups; border: the outer {FRAME / SIDE:.1%} of each side)"
    )
    rows: list[Row] = [
        (_COLUMNS[name], _text(told.balanced_accuracy), f"{chance:.3f}") for name, told in found.seen.items()
    ]
    yield Table(title, ("seen", "balanced accuracy [95 %]", "chance"), tuple(rows))
    columns = ("class", *(_COLUMNS[name] for name in found.seen))
    rows = [
        (name, *(_text(told.auroc[value]) for told in found.seen.values()))
        for value, name in enumerate(found.classes)
    ]
    yield Table("AUROC [95 %] of each class against the others; chance is 0.5", columns, tuple(rows))


def check_shortcuts(found: Shortcuts | None) -> Iterator[Finding]:
    """Classes that give themselves away, and classes that could not be looked at."""
    if found is None:
        return
    items = tuple(
        f"{name}: {_COLUMNS[view]} alone, AUROC {_text(found.seen[view].auroc[value])}; "
        f"whole image {_text(found.seen['whole'].auroc[value])}"
        for view in _SUSPECTS
        if view in found.seen
        for value, name in enumerate(found.classes)
        if found.seen[view].auroc[value].low > SUSPICIOUS
    )
    if items:
        message = (
            "a class can be told without the middle of the image; unless the disease reaches the border, a "
            "network may read the source: see docs/classification.md, Shortcuts"
        )
        yield Finding("warning", "shortcut", message, items)
    if found.left_out:
        message = f"classes of fewer than {FEWEST_GROUPS} groups were not checked for shortcuts"
        yield Finding("note", "shortcuts-unchecked", message, found.left_out)


_Seen = tuple[str, Glance]
"""The group of an image, and the image at a glance."""


def _by_class(source: Source, facts: Sequence[CaseFacts]) -> dict[str, list[_Seen]]:
    """The images of each class that could be read, without classes that have none."""
    members: dict[str, list[_Seen]] = {name: [] for name in source.class_names}
    for one in facts:
        if one.image is not None and one.image.glance is not None and one.label is not None:
            [value] = one.label.counts
            if value in range(len(source.class_names)):
                members[source.class_names[value]].append((group_of(one.case), one.image.glance))
    return {name: seen for name, seen in members.items() if seen}


def _groups(seen: Sequence[_Seen]) -> int:
    return len({group for group, _ in seen})


def _drawn(seen: Sequence[_Seen], limit: int) -> list[_Seen]:
    """At most `limit` images, drawn so that each group gives one before any gives a second."""
    given: Counter[str] = Counter()
    turns = []
    for place in np.random.default_rng(0).permutation(len(seen)):
        group, _ = seen[place]
        turns.append((given[group], place))
        given[group] += 1
    return [seen[place] for _, place in sorted(turns, key=lambda turn: turn[0])[:limit]]


def _views(glances: list[Glance]) -> dict[str, npt.NDArray[np.generic]]:
    """What the classifier is shown, a row for each image."""
    return {
        "border": np.stack([seen.border for seen in glances]),
        "file": file_facts(glances),
        "histogram": np.stack([seen.histogram for seen in glances]),
        "whole": np.stack([seen.grid.ravel() for seen in glances]),
    }


def _text(score: Interval) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
