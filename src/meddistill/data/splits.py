"""Dividing cases into train, selection, calibration and test so that no group is divided."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from meddistill.data.case import SPLITS, Case, Source, Split, is_labelled
from meddistill.data.grouping import group_of, share_out, take_share
from meddistill.data.images import strip_ending
from meddistill.data.sources.scan import listed
from meddistill.data.subsets import describe_subsets, overlapping_subsets
from meddistill.errors import ConfigError, DataError, unknown_name


def split_cases(
    source: Source,
    *,
    files: Mapping[str, Path | str] | None = None,
    fractions: Mapping[str, float] | None = None,
    part: tuple[int, int] | None = None,
    carve: Mapping[str, float] | None = None,
    fraction: float | None = None,
    subset: tuple[int, int, float] | None = None,
    seed: int = 0,
) -> Split:
    """The cases of `source` by split name, from lists, from fractions, or as the source itself says.

    Fractions never divide a group and balance the strata; the result depends on the seed and the cases, not
    on their order. Cases that no list names are left out, and the note says how many. Images without labels
    that name no splits are all training cases.

    Args:
        source: where the cases come from.
        files: for each split name a JSON list of image names as the case ids have them, with or without
            ending.
        fractions: for each split name its share of all cases; together 1.
        part: `(index, of)` narrows `train` to one of `of` disjoint parts of its groups, balanced by stratum,
            counted from 0; together they are all of it. Comes before `carve`.
        carve: for each split name the share of `train` to cut out for it, for example `{"selection": 0.12}`.
        fraction: share of the groups of each split but `test` that is used, at least one; with one seed a
            smaller fraction is a part of a larger one.
        subset: `(index, of, share)` narrows `train` to one of `of` overlapping subsets of its groups, see
            `overlapping_subsets`, counted from 0. Comes last and leaves the other splits alone, so that all
            teachers of an ensemble and their student are chosen and scored on the same cases.
        seed: chooses among the possible divisions.

    Raises:
        DataError: a list cannot be read, names unknown cases, or names a case twice; only some cases of the
            source carry a split; or there are too few groups to fill every split.
        ConfigError: an unknown split name, shares, a part or a subset out of range, both `files` and
            `fractions`, or no way to split.

    Example:
        >>> from types import SimpleNamespace
        >>> source = SimpleNamespace(cases=[Case(f"{n}", group=f"patient {n // 2}") for n in range(8)])
        >>> split = split_cases(source, fractions={"train": 0.75, "test": 0.25}, seed=1)
        >>> split.note
        'by group and stratum, seed 1: train 6, selection 0, calibration 0, test 2'
        >>> check_no_leak(split)
    """
    if files is not None and fractions is not None:
        raise ConfigError("give either lists (files) or fractions for the split, not both")
    if files is not None:
        parts, note = _from_files(source.cases, files)
    elif fractions is not None:
        parts, note = _from_fractions(source.cases, fractions, seed)
    elif not is_labelled(source) and not any(case.split for case in source.cases):
        parts, note = {"train": list(source.cases)}, "all images, which have no labels"
    else:
        parts, note = _from_source(source.cases)
    if part is not None:
        parts, narrowed = _narrow(parts, *part, seed)
        note = f"{note}; {narrowed}"
    if carve:
        parts, carved = _carve(parts, carve, seed)
        note = f"{note}; {carved}"
    if fraction is not None:
        parts, taken = _take(parts, fraction, seed)
        note = f"{note}; {taken}"
    facts: dict[str, Any] = {}
    if subset is not None:
        parts, facts = _overlapping(parts, *subset, seed)
        note = f"{note}; train is subset {subset[0]} of {subset[1]} (from 0) with {subset[2]:g} of its groups"
    unused = len(source.cases) - sum(len(cases) for cases in parts.values())
    counts = ", ".join(f"{name} {len(parts.get(name, ()))}" for name in SPLITS)
    left_out = f", {unused} in no split" if unused else ""
    cases_of = {name: tuple(parts.get(name, ())) for name in SPLITS}
    return Split(cases_of, f"{note}: {counts}{left_out}", facts)


def check_no_leak(split: Split) -> None:
    """Refuse a split in which one group (patient) lies in two parts.

    Raises:
        DataError: it does; the message names the first few groups and where they lie.

    Example:
        >>> check_no_leak(Split({"train": (Case("1", group="A"),), "test": (Case("2", group="A"),)}))
        Traceback (most recent call last):
        meddistill.errors.DataError: groups that leak between splits: A (train, test); keep all cases...
    """
    places: dict[str, set[str]] = defaultdict(set)
    for name, cases in split.cases.items():
        for case in cases:
            places[group_of(case)].add(name)
    leaks = [
        f"{group} ({', '.join(name for name in split.cases if name in names)})"
        for group, names in sorted(places.items())
        if len(names) > 1
    ]
    if leaks:
        raise DataError(
            f"groups that leak between splits: {listed(leaks)}; keep all cases of a group in one split"
        )


def read_list(path: Path | str) -> list[str]:
    """The names in a JSON list.

    Raises:
        DataError: the file cannot be read or is not a JSON list of texts.
    """
    try:
        names = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: the split list cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path}: the split list is not JSON ({error})") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path}: a split list is a JSON list of image names")
    return names


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name not in SPLITS:
            raise ConfigError(unknown_name("split", name, SPLITS))


def _from_files(cases: Sequence[Case], files: Mapping[str, Path | str]) -> tuple[dict[str, list[Case]], str]:
    _check_names(files)
    by_id = {case.id: case for case in cases}
    taken: dict[str, str] = {}
    parts: dict[str, list[Case]] = {}
    for split, path in files.items():
        ids = _known_ids(path, by_id)
        twice = [name for name in ids if name in taken]
        if twice:
            raise DataError(
                f"{path}: also listed for {taken[twice[0]]}: {listed(twice)}; name each case once"
            )
        taken.update(dict.fromkeys(ids, split))
        parts[split] = [by_id[name] for name in ids]
    lists = ", ".join(f"{split} by {Path(path).name}" for split, path in files.items())
    return parts, f"lists ({lists})"


def _known_ids(path: Path | str, by_id: Mapping[str, Case]) -> list[str]:
    ids: list[str] = []
    unknown: list[str] = []
    for name in read_list(path):
        plain = name.removeprefix("./")
        bare = (plain, strip_ending(plain), plain.removesuffix(".gz").removesuffix(".nii"))
        known = next((found for found in bare if found in by_id), bare[1])
        (ids if known in by_id else unknown).append(known)
    if unknown:
        raise DataError(
            f"{path}: {len(unknown)} unknown cases: {listed(unknown)}; names are relative to the data folder"
        )
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(f"{path}: listed more than once: {listed(twice)}; name each case once")
    return ids


def _from_fractions(
    cases: Sequence[Case], fractions: Mapping[str, float], seed: int
) -> tuple[dict[str, list[Case]], str]:
    _check_names(fractions)
    _check_shares("fractions", fractions)
    if abs(sum(fractions.values()) - 1) > 1e-6:
        raise ConfigError(f"fractions must add up to 1, not {sum(fractions.values()):g}")
    parts = _divide(cases, fractions, seed)
    _check_filled(parts, fractions)
    return parts, f"by group and stratum, seed {seed}"


def _from_source(cases: Sequence[Case]) -> tuple[dict[str, list[Case]], str]:
    parts: dict[str, list[Case]] = {}
    for case in cases:
        if case.split is not None:
            _check_names([case.split])
            parts.setdefault(case.split, []).append(case)
    if not parts:
        raise ConfigError("the data name no splits: give lists (files) or fractions")
    bare = [case.id for case in cases if case.split is None]
    if bare:
        raise DataError(f"no split is given for {listed(bare)}; name one for every case or for none")
    return parts, "as the data say"


def _divide(cases: Sequence[Case], fractions: Mapping[str, float], seed: int) -> dict[str, list[Case]]:
    """Whole groups to the splits of `fractions`, which may come in any order."""
    return share_out(cases, {name: fractions[name] for name in SPLITS if name in fractions}, salt=f"{seed}")


def _narrow(
    parts: Mapping[str, list[Case]], index: int, of: int, seed: int
) -> tuple[dict[str, list[Case]], str]:
    check_part(index, of)
    train = parts.get("train", [])
    made = share_out(train, {f"{number}": 1 / of for number in range(of)}, salt=f"part {seed}")
    if not all(made.values()):
        groups = len({group_of(case) for case in train})
        raise DataError(f"part: train has too few groups ({groups}) for {of} parts; give fewer parts")
    return {**parts, "train": made[f"{index}"]}, f"train is part {index} of {of} (from 0), seed {seed}"


def check_part(index: int, of: int) -> None:
    """Refuse a part of the training split that there is not.

    Raises:
        ConfigError: fewer than two parts, or an index that is not among them.
    """
    if of < 2 or not 0 <= index < of:
        raise ConfigError(
            f"part: index {index} of {of} is no part of train; give at least 2 parts, and an index from 0 to "
            "one below their number"
        )


def _take(parts: Mapping[str, list[Case]], fraction: float, seed: int) -> tuple[dict[str, list[Case]], str]:
    if not 0 < fraction <= 1:
        raise ConfigError(f"fraction must be above 0 and at most 1, not {fraction!r}")
    taken = {
        name: cases if name == "test" else take_share(cases, fraction, salt=f"fraction {seed}")
        for name, cases in parts.items()
    }
    return taken, f"{fraction:g} of the groups of each split but test are used, seed {seed}"


def _overlapping(
    parts: Mapping[str, list[Case]], index: int, of: int, share: float, seed: int
) -> tuple[dict[str, list[Case]], dict[str, Any]]:
    """The subset of train that is wanted, and what `Split.subset` says of it and the others."""
    if not 0 <= index < of:
        raise ConfigError(f"subset: there is no subset {index} of {of}; they are counted from 0")
    train = parts.get("train", [])
    groups, strata = [group_of(case) for case in train], [case.stratum for case in train]
    subsets = overlapping_subsets(groups, of, fraction=share, seed=seed, strata=strata)
    chosen = [train[position] for position in subsets[index]]
    expected = {"index": index, "of": of, "fraction": share, "expected_overlap": share**2}
    return {**parts, "train": chosen}, {**expected, **describe_subsets(subsets, len(train))}


def _carve(
    parts: Mapping[str, list[Case]], carve: Mapping[str, float], seed: int
) -> tuple[dict[str, list[Case]], str]:
    _check_names(carve)
    _check_shares("carve", carve)
    full = [name for name in carve if name == "train" or parts.get(name)]
    if full:
        raise ConfigError(f"cannot carve {full[0]!r} out of train: it already has its cases")
    rest = 1 - sum(carve.values())
    if rest <= 0:
        raise ConfigError(f"carve takes {sum(carve.values()):g} of train; leave some for training")
    carved = _divide(parts.get("train", []), {"train": rest, **carve}, seed)
    _check_filled(carved, carved)
    shares = ", ".join(f"{name} {share:g}" for name, share in carve.items())
    return {**parts, **carved}, f"{shares} carved out of train by group and stratum, seed {seed}"


def _check_shares(kind: str, shares: Mapping[str, float]) -> None:
    for name, share in shares.items():
        if not 0 < share <= 1:
            raise ConfigError(f"{kind}: the share of {name!r} must be above 0 and at most 1, not {share!r}")


def _check_filled(parts: Mapping[str, Sequence[Case]], wanted: Iterable[str]) -> None:
    empty = [name for name in wanted if not parts[name]]
    if empty:
        groups = {group_of(case) for cases in parts.values() for case in cases}
        raise DataError(
            f"split {empty[0]!r} got no case: there are too few groups ({len(groups)}); use fewer splits"
        )
