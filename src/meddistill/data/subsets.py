"""Overlapping subsets of a training set: what each teacher of an ensemble learns from."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from meddistill.errors import ConfigError, DataError

Subsets = tuple[tuple[int, ...], ...]
"""For each subset the positions of its cases, ascending."""


def overlapping_subsets(
    groups: int | Sequence[str],
    count: int,
    *,
    fraction: float = 0.7,
    seed: int = 0,
    strata: Sequence[str] | None = None,
) -> Subsets:
    """`count` random subsets, each with a share of the groups and, as near as can be, of every stratum.

    Each group is in a subset with probability `fraction` exactly, independently of the other subsets, so two
    of them share the square of it on average. A subset has `fraction` of all groups and of those of each
    stratum, rounded up or down. Subsets depend on the names of the groups, not on the order of the cases, and
    the first ones stay the same when there are more.

    Args:
        groups: what must stay together, a name for each case (see `data.splits.group_of`); or the number of
            cases, each a group of its own.
        count: how many subsets, 1 or more.
        fraction: share of the groups in each, above 0 and at most 1.
        seed: chooses.
        strata: for each case what is balanced, for example its class; a group has that of most of its cases.

    Returns:
        For each subset the positions of its cases.

    Raises:
        ConfigError: `count` or `fraction` is out of range, or `strata` do not fit.
        DataError: a subset gets no case, because there are too few groups.

    Example:
        >>> subsets = overlapping_subsets(10, 3, fraction=0.6)
        >>> [len(subset) for subset in subsets]
        [6, 6, 6]
        >>> overlapping_subsets(["a", "a", "b", "b"], 2, fraction=0.5)
        ((2, 3), (2, 3))
    """
    names = [str(number) for number in range(groups)] if isinstance(groups, int) else list(groups)
    _check(count, fraction, names, strata)
    members: dict[str, list[int]] = defaultdict(list)
    for position, name in enumerate(names):
        members[name].append(position)
    of_group = _strata_of(members, strata)
    subsets = []
    for number in range(count):
        chosen = _chosen(of_group, fraction, f"{seed}:{number}")
        if not chosen:
            raise DataError(
                f"a subset of {fraction:g} of {len(members)} groups is empty; raise fraction or add groups"
            )
        subsets.append(tuple(sorted(position for name in chosen for position in members[name])))
    return tuple(subsets)


def describe_subsets(subsets: Subsets, cases: int) -> dict[str, Any]:
    """Sizes, the share that each pair has in common of all cases, and how many cases are in no subset.

    Args:
        subsets: positions of cases.
        cases: how many cases there are.

    Example:
        >>> describe_subsets(((0, 1), (1, 2)), 5)
        {'sizes': [2, 2], 'overlaps': {'0-1': 0.2}, 'in_none': 2}
    """
    sets = [set(subset) for subset in subsets]
    pairs = itertools.combinations(enumerate(sets), 2)
    return {
        "sizes": [len(subset) for subset in subsets],
        "overlaps": {f"{i}-{j}": len(one & other) / max(cases, 1) for (i, one), (j, other) in pairs},
        "in_none": cases - len(set().union(*sets)),
    }


def _chosen(of_group: dict[str, str], fraction: float, key: str) -> list[str]:
    """A systematic sample: along the groups, stratum by stratum, in steps of 1 / fraction."""
    start = int.from_bytes(_hash(key, "start")[:8], "big") / 2**64

    def place(name: str) -> tuple[bytes, bytes]:
        return _hash(key, f"stratum:{of_group[name]}"), _hash(key, f"group:{name}")

    ordered = sorted(of_group, key=place)
    steps = [math.floor(start + fraction * number + 1e-9) for number in range(len(ordered) + 1)]
    return [name for number, name in enumerate(ordered) if steps[number + 1] > steps[number]]


def _strata_of(members: dict[str, list[int]], strata: Sequence[str] | None) -> dict[str, str]:
    """The stratum of each group: that of most of its cases, of several the first by name."""
    if strata is None:
        return dict.fromkeys(members, "")
    found = {}
    for name, positions in members.items():
        counts = Counter(strata[position] for position in positions)
        found[name] = min(counts, key=lambda stratum: (-counts[stratum], stratum))
    return found


def _hash(key: str, text: str) -> bytes:
    return hashlib.sha256(f"{key}:{text}".encode()).digest()


def _check(count: int, fraction: float, names: Sequence[str], strata: Sequence[str] | None) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConfigError(f"count of subsets must be a whole number of at least 1, got {count!r}")
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        raise ConfigError(f"fraction of a subset must be above 0 and at most 1, got {fraction!r}")
    if strata is not None and len(strata) != len(names):
        raise ConfigError(f"there are {len(strata)} strata for {len(names)} cases; give one for each")
