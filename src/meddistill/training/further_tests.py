"""Test sets beside the test split of a run's own data: found, checked against the run, and recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from meddistill.config import Recipe
from meddistill.data import check_files
from meddistill.data.case import Case, Source, Split, is_labelled
from meddistill.data.grouping import group_of
from meddistill.data.sources.scan import listed
from meddistill.data.task import task_of
from meddistill.errors import ConfigError, DataError
from meddistill.models import ModelSpec
from meddistill.training.data import TaskData, build_source, divide


def find_tests(recipe: Recipe, spec: ModelSpec, own: TaskData | None = None) -> dict[str, TaskData]:
    """The further test sets of a recipe by name, each with a `test` split alone; nothing is decoded.

    Args:
        recipe: its `tests` are found.
        spec: the student, whose classes, channels and axes they must have.
        own: the data that it learns from; their training cases must not be among those of a test set.

    Raises:
        DataError: a folder cannot be used, the header of a file cannot be read, a set has no cases, or it
            shares cases or groups with what is learnt from.
        ConfigError: it has other classes, channels or axes than the student.
    """
    found = {name: find_test(recipe, name, spec) for name in recipe.tests}
    for name, data in found.items():
        check_files(data.split.cases["test"], data.source)
        if own is not None:
            _check_apart(name, data, own)
    return found


def find_test(recipe: Recipe, name: str, spec: ModelSpec) -> TaskData:
    """The further test set called `name`, at the size of the run's own data.

    Raises:
        DataError: its folder cannot be used, or it has no cases.
        ConfigError: it has other classes, channels or axes than the student.
    """
    test, where = recipe.tests[name], f"tests.{name}"
    source = build_source(test.source, size=tuple(recipe.data.size or ()), where=f"{where}.source")
    _check_fits(where, source, spec)
    own = {"source": test.source, "splits": test.splits or recipe.data.splits}
    config = recipe.data.model_copy(update={**own, "supervision": None, "noise": None})
    split = Split({"test": source.cases}, f"all cases: test {len(source.cases)}")
    if test.splits is not None:
        divided = divide(config, source)
        split = Split({"test": divided.cases.get("test", ())}, divided.note)
    if not split.cases["test"]:
        raise DataError(
            f"{where}: the test split has no cases (now: {split.note}); set {where}.splits, or leave it out "
            "to score all cases"
        )
    return TaskData(config, source, split)


def describe_tests(sets: Mapping[str, TaskData]) -> dict[str, Any]:
    """What `environment.json` says of further test sets: the note and the case ids of each."""
    return {
        name: {"note": data.split.note, "cases": [case.id for case in data.split.cases["test"]]}
        for name, data in sets.items()
    }


def scored_cases(
    own: TaskData, sets: Mapping[str, TaskData], attacked: Mapping[str, str]
) -> dict[str, list[str]]:
    """The case ids of everything that is scored after training: the test split first, where it has labels.

    Args:
        own: the data of the run.
        sets: its further test sets.
        attacked: for each set of attacked images the one whose images they are.
    """
    test = own.split.cases.get("test", ()) if is_labelled(own.source) else ()
    found = {"test": [case.id for case in test]} if test else {}
    found |= {name: [case.id for case in data.split.cases["test"]] for name, data in sets.items()}
    return found | {name: found[of] for name, of in attacked.items()}


def _check_fits(where: str, source: Source, spec: ModelSpec) -> None:
    """Refuse images that the student cannot take, or whose classes are not those that it tells apart."""
    if source.in_channels != spec.in_channels:
        raise ConfigError(
            f"{where}.source has images of {source.in_channels} channels, but the student takes "
            f"{spec.in_channels}; set {where}.source.channels"
        )
    if source.dims != spec.dims:
        raise ConfigError(
            f"{where}.source has images of {source.dims} axes, but the student takes {spec.dims}; of "
            f"volumes, {where}.source.slices: true gives slices"
        )
    if task_of(source) != spec.task:
        raise ConfigError(
            f"{where}.source is made for {task_of(source).replace('_', ' ')}, but the student for "
            f"{spec.task.replace('_', ' ')}; give a source of the same kind of labels"
        )
    theirs, ours = tuple(source.class_names), tuple(spec.class_names)
    if len(theirs) != spec.num_classes or (ours and theirs != ours):
        raise ConfigError(
            f"{where}.source has the classes {', '.join(theirs)}, but the student tells apart "
            f"{', '.join(ours) or spec.num_classes}; both must have the same names in the same order"
        )


def _check_apart(name: str, data: TaskData, own: TaskData) -> None:
    """Refuse a test set with cases or groups that the student learns from with their labels."""
    if not is_labelled(own.source):
        return
    learnt = {
        mark
        for split, cases in own.split.cases.items()
        if split != "test"
        for case in cases
        for mark in _marks(case, own)
    }
    shared = [case.id for case in data.split.cases["test"] if learnt.intersection(_marks(case, data))]
    if shared:
        raise DataError(
            f"tests.{name}: {len(shared)} of its cases, or others of their groups, are among those that the "
            f"student learns from: {listed(shared)}; divide the data by tests.{name}.splits"
        )


def _marks(case: Case, data: TaskData) -> Iterator[tuple[str, str]]:
    """What tells a case and its group from all others, whichever section of the recipe names its folder."""
    source: Any = data.config.source
    if case.image is not None:
        yield "file", str(case.image.resolve())
    for key in ("root", "file"):
        if (place := getattr(source, key, None)) is not None:
            yield str(Path(place).resolve()), group_of(case)
    if source.kind == "phantom":
        yield f"phantom {source.seed} of {source.cases}", case.id
