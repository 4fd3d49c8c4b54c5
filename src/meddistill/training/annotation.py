"""`annotate`: the teacher of a recipe over some splits of its data, into a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from meddistill.config import Recipe
from meddistill.errors import ConfigError
from meddistill.teachers.annotate import WHOLE, Annotation, Shard, annotate
from meddistill.training.assembly import student_spec
from meddistill.training.data import TaskData
from meddistill.training.hardware import device_for, set_layout
from meddistill.training.preparation import check_teacher
from meddistill.training.recipe_teacher import build_teacher, weigh
from meddistill.training.storing import Stored, as_network, complete_store, describe_store


def annotate_recipe(
    recipe: Recipe,
    out: Path | str,
    *,
    splits: Sequence[str] = ("train",),
    shard: Shard = WHOLE,
    say: Callable[[str], None] | None = None,
) -> tuple[Annotation, Stored | None]:
    """Write a part of the store of a recipe's teacher; with the last part the store is complete.

    The teacher is scored first where there is a selection split, and refused below `teacher.floor`.

    Args:
        recipe: its data, teacher and `training.batch_size`.
        out: folder of the store.
        splits: the splits whose cases are stored.
        shard: the part to write.
        say: called with one line on the teacher's own scores.

    Returns:
        What was done, and the complete store, or None while other parts are missing.

    Raises:
        TeacherError: the teacher cannot be used, or `out` holds a store of something else.
        RunError: `out` cannot be written, or another process is writing the same part.
        ConfigError: the recipe asks for the live teacher, or for views without augmentation.
        DataError: the data cannot be used.
    """
    if recipe.teacher.mode == "live":
        raise ConfigError("teacher.mode is live, which stores nothing; give --teacher.mode joint or replay")
    data = TaskData.from_config(recipe.data, seed=recipe.seed)
    spec = student_spec(recipe, data)
    teacher = build_teacher(recipe, spec)
    if recipe.training.channels_last:
        set_layout(spec.dims, teacher)
    teacher.to(device_for(recipe.training.accelerator))
    weigh(recipe, data, teacher)
    if data.split.cases.get("selection") or recipe.teacher.floor is not None:
        check_teacher(recipe, data, teacher, say=say)
    manifest, images = describe_store(recipe, data, teacher, splits)
    done = annotate(as_network(teacher), images, manifest, out, shard=shard)
    return done, complete_store(recipe, teacher, Path(out), images, done)
