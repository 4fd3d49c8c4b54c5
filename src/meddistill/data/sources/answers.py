"""What the sources of whole-image labels share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.data.case import IGNORE_INDEX, Case
from meddistill.data.task import Task
from meddistill.errors import ConfigError, DataError

Target = tuple[int, ...]
"""The label of an image: the number of its class alone, or 0, 1 or `IGNORE_INDEX` for each label."""

NO_LABEL = "(none)"
"""Stratum of images on which no label holds."""


class ImageAnswers:
    """Labels of whole images, by the id of the case.

    `task` is `classification` or `multi_label`, and `targets` holds the label of each case.
    """

    task: Task
    targets: Mapping[str, Target]

    def read_label(self, case: Case) -> npt.NDArray[np.int16]:
        """The number of the class, shape (), or 0 and 1 for each label, shape (L,).

        Either may be `IGNORE_INDEX` where nothing is known.
        """
        target = self.targets[case.id]
        return np.array(target if self.task == "multi_label" else target[0], dtype=np.int16)


def checked_names(names: Iterable[str], found: Iterable[str], *, where: object, kind: str) -> tuple[str, ...]:
    """The names of the classes: those given, else those found in sorted order.

    Args:
        names: what the user gave, perhaps nothing.
        found: what the data hold.
        where: file or folder, for messages.
        kind: what the names stand for, such as `class` or `label`.

    Raises:
        ConfigError: fewer than two names are given, or one is given twice.
        DataError: no names are given, and the data hold fewer than two.

    Example:
        >>> checked_names([], ["sick", "healthy", "sick"], where="a.csv", kind="class")
        ('healthy', 'sick')
    """
    if isinstance(names, str):
        raise ConfigError(f"class_names must be a list of names, not the text {names!r}")
    given, present = tuple(names), sorted(set(found))
    twice = [name for name, count in Counter(given).items() if count > 1]
    if twice or len(given) == 1:
        problem = f"{twice[0]!r} twice" if twice else f"{given[0]!r} alone"
        raise ConfigError(f"class_names holds {problem}; give each of two or more names once")
    if len(present) < 2 and not given:
        raise DataError(
            f"{where}: there is only one {kind}{f' ({present[0]})' if present else ''}; "
            "at least two are needed to tell apart"
        )
    return given or tuple(present)


def strata(targets: Sequence[Target], class_names: Sequence[str], task: Task) -> list[str]:
    """What splits are balanced by: the class of each image, or the rarest of the labels that it has.

    Rare labels are those that a random division would spread worst.

    Example:
        >>> strata([(1, 1), (1, 0), (1, 0), (0, 0)], ["mass", "hernia"], "multi_label")
        ['hernia', 'mass', 'mass', '(none)']
        >>> strata([(1,), (0,)], ["healthy", "sick"], "classification")
        ['sick', 'healthy']
    """
    if task == "classification":
        return ["" if target[0] == IGNORE_INDEX else class_names[target[0]] for target in targets]
    counts = [sum(target[label] == 1 for target in targets) for label in range(len(class_names))]
    return [_rarest(target, counts, class_names) for target in targets]


def _rarest(target: Target, counts: Sequence[int], class_names: Sequence[str]) -> str:
    held = [label for label, value in enumerate(target) if value == 1]
    return class_names[min(held, key=lambda label: (counts[label], label))] if held else NO_LABEL


def set_fields(source: Any, **values: Any) -> None:
    """Set attributes of a frozen dataclass while it is made."""
    for name, value in values.items():
        object.__setattr__(source, name, value)
