"""Before the first step: load the teacher, check it, calibrate it, and let the method look at its outputs."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from meddistill.config import Recipe
from meddistill.data.teacher_logits import TeacherLogits
from meddistill.errors import TeacherError
from meddistill.exclusion import Exclusion
from meddistill.methods import Context
from meddistill.teachers import Calibration, fit_temperature
from meddistill.teachers.base import BaseTeacher
from meddistill.training.assembly import Assembly
from meddistill.training.claim import is_first_process
from meddistill.training.data import TaskData
from meddistill.training.member_storing import StoredMembers, stores_for
from meddistill.training.recipe_teacher import weigh
from meddistill.training.storing import Stored, sample_logits
from meddistill.training.transfer import Teaching, annotated


@dataclass(frozen=True)
class Prepared:
    """What was found out about the teacher before training; None where there is none.

    Args:
        scores: its own scores.
        calibration: its temperature.
        stored: its stored logits; None when it is asked live.
        exclusion: which cases were left out, where the method learns without labels.
    """

    scores: dict[str, Any] | None = None
    calibration: Calibration | None = None
    stored: Stored | StoredMembers | None = None
    exclusion: Exclusion | None = None


def prepare(task: Assembly, stores: Path, *, say: Callable[[str], None] | None = None) -> Prepared:
    """Weigh and check the teacher, store its logits, calibrate it, and let the method look at them.

    Args:
        task: ready for its first step.
        stores: folder below which stores are kept by key when the recipe names none.
        say: called with a line on the teacher's own scores, and on cases that are left out.

    Raises:
        TeacherError: the teacher is below `teacher.floor`, lacks the split or the labels to be weighed or
            calibrated on, or its store does not fit.
        DataError: every case is excluded.
        RunError: the store cannot be written.
    """
    recipe, data, method, teacher = task.recipe, task.data, task.method, task.teacher
    if teacher is None:
        method.prepare(context_of(recipe, data))
        return Prepared()
    if method.needs_teacher_temperature and not data.has_labels("calibration"):
        raise TeacherError(
            "confidence_temperature: calibrate needs labels, and these images have none; give the "
            "temperature as a number"
        )
    if method.needs_teacher_temperature and not data.split.cases.get("calibration"):
        raise TeacherError(
            "confidence_temperature: calibrate needs a calibration split; set data.splits.carve.calibration "
            "to 0.08, or give the temperature as a number"
        )
    weigh(recipe, data, teacher)
    scores = check_teacher(recipe, data, teacher, say=say) or described(teacher)
    stored, exclusion = answered(task, stores)
    if stored is not None and is_first_process():
        print(stored, file=sys.stderr, flush=True)
    if exclusion is not None and say is not None and is_first_process():
        say(exclusion.summary())
    calibration = calibrate(recipe, data, teacher)
    of_images = None if stored is None else stored.of_images(tuple(data.cases("train")))
    method.prepare(
        replace(
            context_of(recipe, data),
            teacher_batches=lambda: training_logits(recipe, data, of_images or teacher),
            teacher_temperature=calibration.temperature if calibration else None,
        )
    )
    return Prepared(scores, calibration, stored, exclusion)


def context_of(recipe: Recipe, data: TaskData) -> Context:
    """What a method may look at whether there is a teacher or not."""
    loader = partial(data.loader, "train", batch_size=recipe.training.batch_size)
    return Context(
        num_classes=data.num_classes,
        epochs=recipe.training.epochs,
        seed=recipe.seed,
        labels=lambda: (batch["label"] for batch in loader()),
    )


def answered(task: Assembly, stores: Path) -> tuple[Stored | StoredMembers | None, Exclusion | None]:
    """The stored answers of the teacher, and what was left out where its masks stand for labels."""
    recipe, data, method, teacher = task.recipe, task.data, task.method, task.teacher
    assert teacher is not None
    if not method.needs_labels:
        return annotated(Teaching(recipe, data, method, teacher), stores)
    return stores_for(recipe, data, teacher, stores, method=method), None


def rehearse(task: Assembly) -> TeacherLogits | None:
    """Prepare the method on its first two batches: enough to time its steps, not to train with it.

    Returns:
        Where the recipe stores its teacher's logits, those of these batches, standing for all others.
    """
    recipe, data, method, teacher = task.recipe, task.data, task.method, task.teacher
    context = replace(context_of(recipe, data), teacher_temperature=1.0)
    if teacher is None:
        method.prepare(context)
        return None
    loader = data.loader("train", batch_size=recipe.training.batch_size)
    batches = list(itertools.islice(loader, 2))
    seen = list(_live(batches, teacher))
    method.prepare(replace(context, teacher_batches=lambda: seen))
    if recipe.teacher.mode == "live":
        return None
    logits = [logits for logits, _ in seen]
    if method.needs_members:
        logits = [teacher.answers(batch["image"].to(teacher.device)).cpu() for batch in batches]
    return sample_logits(recipe, data, teacher, logits)


def reopen(task: Assembly, stores: Path) -> Prepared:
    """What a resumed training needs: the store; everything else was found out and written before.

    Raises:
        TeacherError: the store does not fit any more.
        DataError: every case is excluded.
        RunError: it cannot be written.
    """
    if task.teacher is None:
        return Prepared()
    weigh(task.recipe, task.data, task.teacher)
    stored, exclusion = answered(task, stores)
    return Prepared(stored=stored, exclusion=exclusion)


def check_teacher(
    recipe: Recipe, data: TaskData, teacher: BaseTeacher, *, say: Callable[[str], None] | None = None
) -> dict[str, Any] | None:
    """Score the teacher on the selection split (or else on the training split), before any work is done.

    Returns:
        The scores, and what the teacher is; None where the data have no labels.

    Raises:
        TeacherError: the teacher is below `teacher.floor`, cannot answer, or there are no labels to compare
            with it.
    """
    held_out = "selection" if data.split.cases.get("selection") else "train"
    if not data.has_labels(held_out):
        if recipe.teacher.floor is not None:
            raise TeacherError(
                "teacher.floor: no labels of these images are read, so the teacher cannot be scored on them; "
                "leave it out (a teacher is scored by the run that trained it)"
            )
        _try(teacher, data)
        if say is not None and is_first_process():
            say(f"teacher {teacher.name}: not scored, because no labels of these images are read")
        return None
    loader = data.loader(held_out, batch_size=recipe.training.batch_size)
    check = teacher.check(loader, num_classes=data.num_classes, floor=recipe.teacher.floor)
    if say is not None and is_first_process():
        say(check.summary(held_out))
    return {"split": held_out, **check.to_json(), **described(teacher)}


def _try(teacher: BaseTeacher, data: TaskData) -> None:
    """Ask a teacher that cannot be scored for one answer, so that one that cannot give any is found here.

    Raises:
        TeacherError: it cannot take the image, or its answer is not finite.
    """
    image = data.dataset("train")[0]["image"].to(teacher.device)
    if not bool(teacher(image).isfinite().all()):
        raise TeacherError(f"teacher {teacher.name!r} answers with NaN or infinity; its weights are broken")


def described(teacher: BaseTeacher) -> dict[str, Any]:
    """What a teacher is, scored or not."""
    return {"fingerprint": teacher.fingerprint(), "description": teacher.describe()}


def calibrate(recipe: Recipe, data: TaskData, teacher: BaseTeacher) -> Calibration | None:
    """Fit the teacher's temperature on the calibration split; None where there is none, or no labels."""
    if not data.split.cases.get("calibration") or not data.has_labels("calibration"):
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
