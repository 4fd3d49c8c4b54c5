"""Before the first step: load the teacher, check it, calibrate it, and let the method look at its outputs."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from meddistill.config import Recipe
from meddistill.data.teacher_logits import TeacherLogits
from meddistill.errors import TeacherError
from meddistill.methods import Context
from meddistill.teachers import Calibration, fit_temperature
from meddistill.teachers.base import BaseTeacher
from meddistill.training.assembly import Assembly
from meddistill.training.claim import is_first_process
from meddistill.training.data import TaskData
from meddistill.training.recipe_teacher import weigh
from meddistill.training.storing import Stored, sample_logits, store_for


@dataclass(frozen=True)
class Prepared:
    """What was found out about the teacher before training; None where there is none.

    Args:
        scores: its own scores.
        calibration: its temperature.
        stored: its stored logits; None when it is asked live.
    """

    scores: dict[str, Any] | None = None
    calibration: Calibration | None = None
    stored: Stored | None = None


def prepare(task: Assembly, stores: Path, *, say: Callable[[str], None] | None = None) -> Prepared:
    """Weigh and check the teacher, store its logits, calibrate it, and let the method look at them.

    Args:
        task: ready for its first step.
        stores: folder below which stores are kept by key when the recipe names none.
        say: called with one line on the teacher's own scores.

    Raises:
        TeacherError: the teacher is below `teacher.floor`, lacks the split to be weighed or calibrated on, or
            its store does not fit.
        RunError: the store cannot be written.
    """
    recipe, data, method, teacher = task.recipe, task.data, task.method, task.teacher
    if teacher is None:
        method.prepare(Context(num_classes=data.num_classes, epochs=recipe.training.epochs, seed=recipe.seed))
        return Prepared()
    if method.needs_teacher_temperature and not data.split.cases.get("calibration"):
        raise TeacherError(
            "confidence_temperature: calibrate needs a calibration split; set data.splits.carve.calibration "
            "to 0.08, or give the temperature as a number"
        )
    weigh(recipe, data, teacher)
    scores = check_teacher(recipe, data, teacher, say=say)
    stored = store_for(recipe, data, teacher, stores)
    if stored is not None and is_first_process():
        print(stored, file=sys.stderr, flush=True)
    calibration = calibrate(recipe, data, teacher)
    of_images = None if stored is None else stored.of_images(tuple(data.cases("train")))
    method.prepare(
        Context(
            num_classes=data.num_classes,
            epochs=recipe.training.epochs,
            seed=recipe.seed,
            teacher_batches=lambda: training_logits(recipe, data, of_images or teacher),
            teacher_temperature=calibration.temperature if calibration else None,
        )
    )
    return Prepared(scores, calibration, stored)


def rehearse(task: Assembly) -> TeacherLogits | None:
    """Prepare the method on its first two batches: enough to time its steps, not to train with it.

    Returns:
        Where the recipe stores its teacher's logits, those of these batches, standing for all others.
    """
    recipe, data, method, teacher = task.recipe, task.data, task.method, task.teacher
    context = Context(num_classes=data.num_classes, epochs=recipe.training.epochs, teacher_temperature=1.0)
    if teacher is None:
        method.prepare(context)
        return None
    loader = data.loader("train", batch_size=recipe.training.batch_size)
    seen = list(_live(itertools.islice(loader, 2), teacher))
    method.prepare(replace(context, teacher_batches=lambda: seen))
    if recipe.teacher.mode == "live":
        return None
    return sample_logits(recipe, data, teacher, [logits for logits, _ in seen])


def reopen(task: Assembly, stores: Path) -> Prepared:
    """What a resumed training needs: the store; everything else was found out and written before.

    Raises:
        TeacherError: the store does not fit any more.
        RunError: it cannot be written.
    """
    if task.teacher is None:
        return Prepared()
    weigh(task.recipe, task.data, task.teacher)
    return Prepared(stored=store_for(task.recipe, task.data, task.teacher, stores))


def check_teacher(
    recipe: Recipe, data: TaskData, teacher: BaseTeacher, *, say: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Score the teacher on the selection split (or else on the training split), before any work is done.

    Returns:
        The scores, and what the teacher is.

    Raises:
        TeacherError: the teacher is below `teacher.floor`.
    """
    held_out = "selection" if data.split.cases.get("selection") else "train"
    loader = data.loader(held_out, batch_size=recipe.training.batch_size)
    check = teacher.check(loader, num_classes=data.num_classes, floor=recipe.teacher.floor)
    if say is not None and is_first_process():
        say(check.summary(held_out))
    described = {"fingerprint": teacher.fingerprint(), "description": teacher.describe()}
    return {"split": held_out, **check.to_json(), **described}


def calibrate(recipe: Recipe, data: TaskData, teacher: BaseTeacher) -> Calibration | None:
    """Fit the teacher's temperature on the calibration split; None where there is none."""
    if not data.split.cases.get("calibration"):
        return None
    loader = data.loader("calibration", batch_size=recipe.training.batch_size)
    return fit_temperature(lambda: _live(loader, teacher), criterion=recipe.training.calibration)


def training_logits(
    recipe: Recipe, data: TaskData, source: BaseTeacher | TeacherLogits
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass over (teacher logits, labels) of the training split, live or from the store."""
    loader = data.loader("train", batch_size=recipe.training.batch_size)
    if isinstance(source, BaseTeacher):
        yield from _live(loader, source)
        return
    for batch in loader:
        yield source.read([(0, index) for index in batch["index"].tolist()]), batch["label"]


def _live(loader: Iterable[Any], teacher: BaseTeacher) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in loader:
        yield teacher(batch["image"].to(teacher.device)).cpu(), batch["label"]
