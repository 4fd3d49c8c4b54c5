"""From the classes of a network to those of the data: another order, merged classes, unknown ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from meddistill.errors import TeacherError

ClassMap = Sequence[int | Sequence[int] | None]
"""For each class of the data: the index of the network's class, several to merge, or None for unknown."""

Entries = tuple[tuple[int, ...], ...]
"""For each class of the data the indices of the network's classes; empty where it is unknown."""


def read_class_map(class_map: ClassMap | None, num_classes: int, teacher: str) -> Entries | None:
    """Check a class map against the network's number of classes; None stays None.

    Raises:
        TeacherError: an index that the network lacks, one that is used twice or never, or an empty list.

    Example:
        >>> read_class_map([0, [1, 3], None, 2], 4, "t")
        ((0,), (1, 3), (), (2,))
    """
    if class_map is None:
        return None
    entries: Entries = tuple(_entry(entry, teacher) for entry in class_map)
    uses = Counter(index for entry in entries for index in entry)
    foreign = sorted(set(uses) - set(range(num_classes)))
    repeated = sorted(index for index, count in uses.items() if count > 1)
    unused = sorted(set(range(num_classes)) - set(uses))
    shown = f"teacher {teacher!r}: class_map {show_class_map(entries)}"
    if foreign:
        raise TeacherError(f"{shown} names class {foreign[0]}; the network has 0..{num_classes - 1}")
    if repeated:
        raise TeacherError(f"{shown} uses class {repeated[0]} of the network twice; use each class once")
    if unused:
        merged = [[*entries[0], *unused], *show_class_map(entries)[1:]]
        raise TeacherError(
            f"{shown} leaves class {unused[0]} of the network unused; merge it into the class of the data "
            f"that it belongs to, for example {merged}"
        )
    return entries


def show_class_map(entries: Entries) -> list[int | list[int] | None]:
    """The map as a user writes it.

    Example:
        >>> show_class_map(((0,), (1, 3), (), (2,)))
        [0, [1, 3], None, 2]
    """
    return [None if not entry else entry[0] if len(entry) == 1 else list(entry) for entry in entries]


def count_classes(class_map: ClassMap) -> int:
    """The number of classes of the network that a class map is for: each is used once.

    Example:
        >>> count_classes([0, [1, 3], None, 2])
        4
    """
    return sum(1 if isinstance(entry, int) else len(entry or ()) for entry in class_map)


def map_logits(logits: Tensor, entries: Entries) -> Tensor:
    """Logits (B, K, *S) of the data's classes from those of the network (B, N, *S).

    Merged classes have the logsumexp of their logits, so that softmax adds their probabilities. Unknown ones
    have minus infinity: probability 0.

    Example:
        >>> map_logits(torch.tensor([[0.25, 0.25, 0.5]]).log(), ((0,), (1, 2), ())).softmax(1)
        tensor([[0.2500, 0.7500, 0.0000]])
    """
    if all(len(entry) == 1 for entry in entries):
        return logits[:, [entry[0] for entry in entries]]
    unknown = torch.full_like(logits[:, 0], -torch.inf)
    columns = [logits[:, list(entry)].logsumexp(dim=1) if entry else unknown for entry in entries]
    return torch.stack(columns, dim=1)


def map_names(names: Sequence[str], entries: Entries | None) -> tuple[str, ...]:
    """Names of the data's classes from those of the network; merged ones are joined by `+`.

    Example:
        >>> map_names(["background", "liver", "tumour"], ((0,), (1, 2), ()))
        ('background', 'liver+tumour', 'unknown')
    """
    if entries is None or not names:
        return tuple(names)
    return tuple("+".join(names[index] for index in entry) or "unknown" for entry in entries)


def _entry(entry: int | Sequence[int] | None, teacher: str) -> tuple[int, ...]:
    if entry is None:
        return ()
    indices = (entry,) if isinstance(entry, int) else tuple(entry)
    if not indices:
        raise TeacherError(
            f"teacher {teacher!r}: class_map holds an empty list; give null for a class that it does not know"
        )
    return indices
