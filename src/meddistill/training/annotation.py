"""`annotate`: the teacher of a recipe over some splits of its data, into a store and into a data folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from meddistill.config import Recipe
from meddistill.data._folders import refuse_existing
from meddistill.errors import ConfigError
from meddistill.exclusion import Exclusion
from meddistill.methods import create_method
from meddistill.teachers.annotate import WHOLE, Annotation, Shard, annotate
from meddistill.training.annotated_set import check_images, write_annotated_set
from meddistill.training.assembly import student_spec
from meddistill.training.claim import check_writable
from meddistill.training.data import TaskData
from meddistill.training.hardware import device_for, set_layout
from meddistill.training.member_storing import StoredMembers, gathered, members_folder, wants_members
from meddistill.training.preparation import check_teacher
from meddistill.training.recipe_teacher import build_teacher, weigh
from meddistill.training.storing import Stored, as_network, complete_store, describe_store
from meddistill.training.transfer import Teaching, check_rules, learnt_splits


@dataclass(frozen=True)
class Annotated:
    """What an annotation left.

    Args:
        done: what was done.
        stored: the complete store (or those of all members); None while other parts are missing.
        exclusion: what the data folder lacks; None where none was written.
    """

    done: Annotation
    stored: Stored | StoredMembers | None
    exclusion: Exclusion | None = None


def annotate_recipe(
    recipe: Recipe,
    out: Path | str,
    *,
    splits: Sequence[str] = (),
    shard: Shard = WHOLE,
    masks: Path | str | None = None,
    say: Callable[[str], None] | None = None,
) -> Annotated:
    """Write a part of the store of a recipe's teacher; with the last part the store is complete.

    The teacher is scored first where there is a selection split with labels, and refused below
    `teacher.floor`. Where the method or a rule compares the members of an ensemble, `out` holds a store of
    each, in a folder named by its key.

    Args:
        recipe: its data, teacher and `training.batch_size`.
        out: folder of the store.
        splits: the splits whose cases are stored; by default `train`, and `selection` as well for a method
            that needs no labels, as its training reads them.
        shard: the part to write.
        masks: data folder to write once the store is complete, see `write_annotated_set`.
        say: called with one line on the teacher's own scores.

    Raises:
        TeacherError: the teacher cannot be used, or `out` holds a store of something else.
        RunError: `out` cannot be written, or another process is writing the same part.
        ConfigError: the recipe asks for the live teacher, for views without augmentation, or for masks of
            volumes.
        DataError: the data cannot be used, `masks` exists or cannot be written, or the rules leave no case.
    """
    if recipe.teacher.mode == "live":
        raise ConfigError("teacher.mode is live, which stores nothing; give --teacher.mode joint or replay")
    task = _teaching(recipe)
    splits = tuple(splits) or (("train",) if task.method.needs_labels else learnt_splits(task.data))
    if masks is not None:
        check_images(task.data)
        refuse_existing(Path(masks))
        check_writable(Path(masks))
    weigh(recipe, task.data, task.teacher)
    if task.data.split.cases.get("selection") or recipe.teacher.floor is not None:
        check_teacher(recipe, task.data, task.teacher, say=say)
    done, stored = _annotate(task, Path(out), splits, shard)
    if masks is None or stored is None:
        return Annotated(done, stored)
    filled = [split for split in splits if task.data.split.cases.get(split)]
    return Annotated(done, stored, write_annotated_set(Path(masks), task, stored, filled))


def _teaching(recipe: Recipe) -> Teaching:
    """The teacher, on its device, and what it is to look at."""
    data, method = TaskData.from_recipe(recipe), create_method(**recipe.method)
    spec = student_spec(recipe, data)
    teacher = build_teacher(recipe, spec)
    check_rules(method, teacher)
    if recipe.training.channels_last:
        set_layout(spec.dims, teacher)
    teacher.to(device_for(recipe.training.accelerator))
    return Teaching(recipe, data, method, teacher)


def _annotate(
    task: Teaching, out: Path, splits: Sequence[str], shard: Shard
) -> tuple[Annotation, Stored | StoredMembers | None]:
    """Write the part, of one store or of one for each member."""
    recipe, teacher = task.recipe, task.teacher
    if not wants_members(task.method):
        manifest, images = describe_store(recipe, task.data, teacher, splits)
        done = annotate(as_network(teacher), images, manifest, out, shard=shard)
        return done, complete_store(recipe, teacher, out, images, done)
    below = members_folder(out)
    parts, all_done = [], []
    for member in teacher.teachers:
        manifest, images = describe_store(recipe, task.data, member, splits)
        folder = below / manifest.key
        done = annotate(as_network(member), images, manifest, folder, shard=shard)
        all_done.append(done)
        parts.append(complete_store(recipe, member, folder, images, done))
    total = sum(all_done[1:], all_done[0])
    whole = [part for part in parts if part is not None]
    return total, gathered(teacher, whole, task.method) if len(whole) == len(parts) else None
