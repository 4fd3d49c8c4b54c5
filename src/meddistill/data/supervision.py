"""Mixed supervision: a few cases of the training set keep their full labels, the others get weak ones."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX, Case, Source
from meddistill.data.grouping import group_of
from meddistill.data.weak.base import WeakLabel
from meddistill.errors import ConfigError, DataError


@dataclass(frozen=True)
class Supervision:
    """What is known of each case of a training set.

    Args:
        full: ids of the cases whose full labels may be used.
        weak: where the weak label of every case comes from; the others have nothing else.
        seed: of what is random in the weak labels.
    """

    full: frozenset[str]
    weak: WeakLabel
    seed: int = 0

    def labels(
        self, source: Source, case: Case, label: Tensor, original: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """The label of `case` that training may see, and its weak label: the same one for a weak case.

        Args:
            source: has the case.
            case: which one.
            label: its full label (*S) at the size of training.
            original: spatial size before resizing.

        Raises:
            DataError: a case that should be fully labelled has no label, or a weak label cannot be had.
        """
        full = case.id in self.full
        if full and bool((label == IGNORE_INDEX).all()):
            raise DataError(
                f"{case.id} was drawn as fully labelled, but none of its pixels has a label; give it one, or "
                "leave it out"
            )
        drawn = self.weak.of_case(source, case, label.numpy(), original=original, seed=self.seed)
        weak = torch.from_numpy(drawn.astype(np.int16, copy=False))
        return (label if full else weak), weak


def draw_full_groups(cases: Iterable[Case], count: int, *, seed: int) -> list[str]:
    """The groups (patients) whose cases keep their full labels, sorted.

    They depend on the seed and the names of the groups, not on the order of the cases; fewer groups are a
    part of more. Where some cases have label files, only groups are drawn whose cases all have one.

    Args:
        cases: the training set.
        count: how many groups, at least 1.
        seed: chooses them.

    Raises:
        ConfigError: there are fewer groups.

    Example:
        >>> cases = [Case(f"{n}", group=f"patient {n // 2}") for n in range(8)]
        >>> draw_full_groups(cases, 2, seed=0) == draw_full_groups(cases[::-1], 2, seed=0)
        True
    """
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        groups[group_of(case)].append(case)
    some = any(case.labels for members in groups.values() for case in members)
    labelled = [name for name, members in groups.items() if not some or all(case.labels for case in members)]
    if not 1 <= count <= len(labelled):
        raise ConfigError(
            f"data.supervision.full_groups is {count}, but the training split has {len(labelled)} groups "
            "with full labels; give 1 to that many"
        )
    return sorted(sorted(labelled, key=lambda name: _shuffled(seed, name))[:count])


def _shuffled(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"full labels {seed}:{group}".encode()).digest()
