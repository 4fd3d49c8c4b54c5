"""The stores of an ensemble's members, one each: found, made or completed, and read side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from meddistill.config import Recipe
from meddistill.data.teacher_logits import TeacherLogits
from meddistill.errors import TeacherError
from meddistill.methods import Method
from meddistill.teachers.base import BaseTeacher
from meddistill.teachers.store import MANIFEST
from meddistill.teachers.stored_members import JoinedLogits, StackedLogits
from meddistill.training.data import TaskData
from meddistill.training.storing import Stored, describe_store, fill_store, store_for


@dataclass(frozen=True)
class StoredMembers:
    """A complete store of each member of an ensemble.

    Args:
        parts: the stores, in the order of the members.
        names: the members' names.
        known: for each member and class, whether it knows the class.
        join: see `BaseTeacher.joiner`.
        stacked: whether the method learns from the logits of each member, and not from the joined ones.
    """

    parts: tuple[Stored, ...]
    names: tuple[str, ...]
    known: tuple[tuple[bool, ...], ...]
    join: Callable[[Tensor], Tensor]
    stacked: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values for the run folder: of all stores together, and of each."""
        parts = [part.to_json() for part in self.parts]
        same = {name: parts[0][name] for name in ("mode", "encoding")}
        total = {name: sum(part[name] for part in parts) for name in ("rows", "bytes")}
        return {**same, **total, "members": dict(zip(self.names, parts, strict=True))}

    def __str__(self) -> str:
        """What was done, the sizes and the differences of each, for a terminal."""
        return "\n".join(f"{name}: {part}" for name, part in zip(self.names, self.parts, strict=True))

    def logits(self, cases: Sequence[str], *, seed: int) -> TeacherLogits:
        """What a data set of `cases` reads during training: (B, M, K, *S) if stacked, else (B, K, *S)."""
        members = StackedLogits([part.logits(cases, seed=seed) for part in self.parts], self.known)
        return members if self.stacked else JoinedLogits(members, self.join)

    def of_images(self, cases: Sequence[str]) -> TeacherLogits | None:
        """Joined logits (B, K, *S) of the images as they are, where the stores have them."""
        members = self.of_members(cases)
        return None if members is None else JoinedLogits(members, self.join)

    def of_members(self, cases: Sequence[str]) -> StackedLogits | None:
        """Logits (B, M, K, *S) of the images as they are, where the stores have them."""
        found = [part.of_images(cases) for part in self.parts]
        parts = [part for part in found if part is not None]
        return StackedLogits(parts, self.known) if len(parts) == len(found) else None


def wants_members(method: Method) -> bool:
    """Whether the method, or a rule by which it excludes cases, asks for the answers of each member."""
    return method.needs_members or any(rule.needs_members for rule in method.rules)


def stores_for(
    recipe: Recipe,
    data: TaskData,
    teacher: BaseTeacher,
    stores: Path,
    *,
    method: Method,
    splits: Sequence[str] = ("train",),
) -> Stored | StoredMembers | None:
    """As `store_for`; a store of each member where the method or a rule asks for the members.

    Each lies below `stores` (or the folder that the recipe names) under its own key, as the store of that
    member alone would, and is shared with runs that have it as their only teacher.

    Raises:
        TeacherError: as `store_for`, or the recipe names a store of joined logits.
        RunError: a store cannot be written.
        ConfigError: views are to be replayed without augmentation.
    """
    if recipe.teacher.mode == "live" or not wants_members(method):
        return store_for(recipe, data, teacher, stores, splits=splits)
    below = members_folder(Path(recipe.teacher.store) if recipe.teacher.store else stores)
    parts = []
    for member in teacher.teachers:
        described = describe_store(recipe, data, member, splits)
        parts.append(fill_store(recipe, member, described, below / described[0].key))
    return gathered(teacher, parts, method)


def gathered(teacher: BaseTeacher, parts: Sequence[Stored], method: Method) -> StoredMembers:
    """The stores of the members of `teacher` together."""
    return StoredMembers(
        tuple(parts),
        tuple(getattr(teacher, "member_names", (teacher.name,))),
        tuple(member.known for member in teacher.teachers),
        teacher.joiner(),
        stacked=method.needs_members,
    )


def members_folder(below: Path) -> Path:
    """The folder, if the stores of members can lie in it.

    Raises:
        TeacherError: it is a store itself.
    """
    if (below / MANIFEST).is_file():
        raise TeacherError(
            f"{below} is one store, but here each member of the ensemble has its own below the folder; give "
            "another one, which `meddistill annotate` can fill from this recipe"
        )
    return below
