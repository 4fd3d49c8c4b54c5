"""Before a student learns from teachers alone: poor masks are excluded, and the others stand for labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meddistill.config import Recipe
from meddistill.data.dataset import as_float
from meddistill.data.rows import RowFile
from meddistill.errors import ConfigError, DataError
from meddistill.exclusion import Answers, Exclusion, exclude
from meddistill.files import write_json, write_text
from meddistill.methods import Method
from meddistill.progress import progress
from meddistill.teachers.base import BaseTeacher
from meddistill.training.data import TaskData
from meddistill.training.member_storing import StoredMembers, stores_for, wants_members
from meddistill.training.run_folder import RunFolder
from meddistill.training.storing import Stored

LEARNT = ("train", "selection")
"""The splits whose labels are the teachers' masks."""

AGREEMENT = "agreement with the teacher"
"""What the Dice on a selection split of pseudo-labels measures."""


@dataclass(frozen=True)
class Teaching:
    """Who teaches what, and by which method.

    Args:
        recipe: says how, and the batch size.
        data: decoded where it is asked; its splits are narrowed.
        method: its rules exclude.
        teacher: on the device where it computes.
    """

    recipe: Recipe
    data: TaskData
    method: Method
    teacher: BaseTeacher


def learnt_splits(data: TaskData) -> tuple[str, ...]:
    """Those of `LEARNT` that have cases."""
    return tuple(split for split in LEARNT if data.split.cases.get(split))


def check_rules(method: Method, teacher: BaseTeacher) -> None:
    """Refuse rules that compare the members of an ensemble where there is one teacher.

    Raises:
        ConfigError: names the rule.
    """
    alone = len(teacher.teachers) < 2
    for rule in method.rules:
        if rule.needs_members and alone:
            raise ConfigError(
                f"method.exclude: {rule.name} compares several teachers, and there is one; give "
                f"teacher.members, or leave out the rule"
            )


def annotated(task: Teaching, stores: Path) -> tuple[Stored | StoredMembers | None, Exclusion]:
    """Let the teachers answer, leave out what the rules exclude, and label the rest with the likeliest class.

    In mode `joint` the answers are stored first, of all cases. In the modes `live` and `replay` they are
    looked at once without being stored; then `replay` stores the views of the cases that are kept.

    Args:
        task: the teaching of one training.
        stores: folder below which stores are kept by key when the recipe names none.

    Returns:
        The stores that training reads (None when the teacher is asked live), and what was excluded.

    Raises:
        DataError: nothing is left to learn from.
        TeacherError: the store does not fit.
        ConfigError: a rule does not fit the teachers.
    """
    recipe, data, method, teacher = task.recipe, task.data, task.method, task.teacher
    check_rules(method, teacher)
    joint = recipe.teacher.mode == "joint"
    stored = None
    if joint:
        stored = stores_for(recipe, data, teacher, stores, method=method, splits=learnt_splits(data))
    found = choose_cases(task, stored, learnt_splits(data))
    if not joint:
        stored = stores_for(recipe, data, teacher, stores, method=method)
    return stored, found


def choose_cases(task: Teaching, stored: Stored | StoredMembers | None, splits: Sequence[str]) -> Exclusion:
    """Measure the rules batch by batch, exclude, and narrow the data to what is kept.

    Args:
        task: its data are narrowed.
        stored: where the answers are; None asks the teacher.
        splits: whose cases are looked at together.

    Raises:
        DataError: no case is left, or none of a split.
    """
    data, rules = task.data, task.method.rules
    labels, rows = {}, []
    for split in splits:
        labels[split], measured = _measure(task, stored, split)
        rows.append(measured)
    cases = {split: [case.id for case in data.split.cases[split]] for split in splits}
    ids = [case for split in splits for case in cases[split]]
    found = exclude(rules, ids, [torch.cat(parts) for parts in zip(*rows, strict=True)])
    found.check_any_left()
    for split in splits:
        kept = [position for position, case in enumerate(cases[split]) if case not in found.removed]
        if not kept:
            ((rule, count),) = Counter(found.removed[case] for case in cases[split]).most_common(1)
            raise DataError(
                f"method.exclude leaves none of the {len(cases[split])} cases of the {split} split "
                f"({len(found.kept)} of {found.total} in all): {rule} removed {count}; relax it, or give the "
                "split more cases"
            )
        data.narrow(split, kept, labels[split])
    return found


def _measure(
    task: Teaching, stored: Stored | StoredMembers | None, split: str
) -> tuple[RowFile, list[Tensor]]:
    """The likeliest class of each pixel of a split, and for each rule the numbers (N, C)."""
    cache, rules = task.data.dataset(split).cache, task.method.rules
    labels = RowFile.temporary(len(cache), cache.size, "int16")
    numbers: list[list[Tensor]] = [[] for _ in rules]
    with progress("looking at the masks", len(cache)) as advance:
        for start, answers in _answers(task, stored, split):
            labels.write_run(start, answers.probabilities.max(1).indices)  # ten times as fast as argmax
            for rule, parts in zip(rules, numbers, strict=True):
                parts.append(rule.measure(answers).float().cpu())
            advance(len(answers.probabilities))
    return labels, [torch.cat(parts) for parts in numbers]


def _answers(
    task: Teaching, stored: Stored | StoredMembers | None, split: str
) -> Iterator[tuple[int, Answers]]:
    """What the teachers say about a split, batch by batch, with the position of each batch's first case."""
    members = wants_members(task.method)
    read, join = reader(task, stored, split, members=members), task.teacher.joiner()
    cases, size = len(task.data.dataset(split)), task.recipe.training.batch_size
    for start in range(0, cases, size):
        logits = read(range(start, min(start + size, cases)))
        if members:
            single = logits.softmax(2).movedim(1, 0)
            yield start, Answers(join(logits).softmax(1), single)
        else:
            yield start, Answers(logits.softmax(1))


def reader(
    task: Teaching, stored: Stored | StoredMembers | None, split: str, *, members: bool
) -> Callable[[Sequence[int]], Tensor]:
    """Gives the logits of some positions: (B, K, *S), or with `members` (B, M, K, *S)."""
    cases, cache = tuple(task.data.cases(split)), task.data.dataset(split).cache
    if stored is not None:
        both = stored.of_members(cases) if isinstance(stored, StoredMembers) and members else None
        logits = both or stored.of_images(cases)
        assert logits is not None
        return lambda positions: logits.read([(0, position) for position in positions])
    teacher = task.teacher
    ask: Callable[[Tensor], Tensor] = teacher.answers if members else teacher

    def answer(positions: Sequence[int]) -> Tensor:
        return ask(as_float(cache.images.read(positions)).to(teacher.device)).cpu()

    return answer


def write_exclusion(folder: RunFolder, data: TaskData, found: Exclusion) -> None:
    """Write `exclusion.json` and `exclusion.csv` of a run."""
    write_json(folder.exclusion, {**found.to_json(), "splits": _by_split(data)})
    write_text(folder.exclusion_table, found.to_csv())


def describe_transfer(data: TaskData) -> dict[str, Any]:
    """What the run's environment says of cases that rules excluded; empty where none can be."""
    if not data.hidden or not data.left_out():
        return {}
    agreement = {"selection": AGREEMENT} if data.split.cases.get("selection") else {}
    return {**agreement, "excluded_cases": data.left_out()}


def _by_split(data: TaskData) -> dict[str, dict[str, int]]:
    out = data.left_out()
    return {
        split: {"total": len(data.split.cases[split]), "excluded": len(cases)} for split, cases in out.items()
    }
