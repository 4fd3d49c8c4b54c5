"""Sharing out whole groups (patients) of cases."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from meddistill.data.case import Case


def group_of(case: Case) -> str:
    """What must stay together: the case's group, or its id when none is known.

    Example:
        >>> group_of(Case("a/1", group="patient 7")), group_of(Case("a/1"))
        ('patient 7', 'a/1')
    """
    return case.group or case.id


def share_out(cases: Sequence[Case], shares: Mapping[str, float], *, salt: str) -> dict[str, list[Case]]:
    """Assign whole groups to parts so that each stratum comes close to `shares`.

    Groups are taken in an order drawn from the salt; each goes to the part that still lacks most among those
    with room for it in all its strata. Groups that fit nowhere wait, and then go, large ones first, where
    most is lacking overall.

    Args:
        cases: what to share out, in any order.
        shares: share of each part; together 1. Of parts that lack as much, the first here gets the group.
        salt: chooses the order of the groups.

    Returns:
        The cases of each part, by id.

    Example:
        >>> cases = [Case(f"{n}", group=f"patient {n // 2}") for n in range(8)]
        >>> parts = share_out(cases, {"a": 0.75, "b": 0.25}, salt="1")
        >>> [len(part) for part in parts.values()]
        [6, 2]
    """
    groups = _by_group(cases)
    # Strata in a fixed order: sums of floats depend on theirs.
    sizes = sorted(Counter(case.stratum for case in cases).items())
    room = {name: {s: share * n for s, n in sizes} for name, share in shares.items()}
    parts: dict[str, list[Case]] = {name: [] for name in shares}

    def assign(name: str, members: list[Case]) -> None:
        parts[name] += members
        for case in members:
            room[name][case.stratum] -= 1

    waiting = []
    for group in sorted(groups, key=lambda group: _shuffled(salt, group)):
        need = Counter(case.stratum for case in groups[group])
        fitting = [name for name in room if all(room[name][s] + 1e-9 >= n for s, n in need.items())]
        if fitting:
            assign(max(fitting, key=lambda name: sum(room[name][s] for s in sorted(need))), groups[group])
        else:
            waiting.append(groups[group])
    for members in sorted(waiting, key=len, reverse=True):
        assign(max(room, key=lambda name: sum(room[name].values())), members)
    return {name: sorted(members, key=lambda case: case.id) for name, members in parts.items()}


def fold_positions(cases: Sequence[Case], count: int, *, salt: str) -> list[list[int]]:
    """Positions of the cases in each of `count` folds of whole groups, balanced by stratum.

    Args:
        cases: what to divide, each with an id of its own.
        count: how many folds; some are empty where there are too few groups.
        salt: see `share_out`.

    Example:
        >>> fold_positions([Case(f"{n}", group=f"patient {n // 2}") for n in range(6)], 3, salt="1")
        [[2, 3], [4, 5], [0, 1]]
    """
    places = {case.id: position for position, case in enumerate(cases)}
    parts = share_out(cases, {f"{fold}": 1 / count for fold in range(count)}, salt=salt)
    return [sorted(places[case.id] for case in part) for part in parts.values()]


def take_share(cases: Sequence[Case], share: float, *, salt: str) -> list[Case]:
    """The cases of a share of the groups, at least one, in the order of `cases`.

    With one salt a smaller share is a part of a larger one, and each stratum is represented about as among
    all (a group counts for the stratum of most of its cases). The order of the cases does not matter.

    Example:
        >>> cases = [Case(f"{n}", stratum="ab"[n % 2]) for n in range(8)]
        >>> sorted(case.stratum for case in take_share(cases, 0.5, salt="0"))
        ['a', 'a', 'b', 'b']
    """
    groups = _by_group(cases)
    strata: dict[str, list[str]] = defaultdict(list)
    for group in sorted(groups, key=lambda group: _shuffled(salt, group)):
        strata[_main_stratum(groups[group])].append(group)
    places = {
        group: ((rank + 0.5) / len(members), _shuffled(salt, group))
        for members in strata.values()
        for rank, group in enumerate(members)
    }
    taken = set(sorted(groups, key=places.__getitem__)[: max(1, round(share * len(groups)))])
    return [case for case in cases if group_of(case) in taken]


def _main_stratum(cases: Iterable[Case]) -> str:
    counts = Counter(case.stratum for case in cases)
    return min(counts, key=lambda stratum: (-counts[stratum], stratum))


def _by_group(cases: Iterable[Case]) -> dict[str, list[Case]]:
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        groups[group_of(case)].append(case)
    return groups


def _shuffled(salt: str, group: str) -> bytes:
    return hashlib.sha256(f"{salt}:{group}".encode()).digest()
