"""Before the first step: load the teacher, check it, calibrate it, and let the method look at its outputs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from meddistill.config import Recipe
from meddistill.data.teacher_logits import TeacherLogits
from meddistill.errors import ConfigError, TeacherError
from meddistill.methods import Context, Method
from meddistill.models import ModelSpec
from meddistill.teachers import Calibration, Teacher, fit_temperature, load_teacher
from meddistill.teachers.base import BaseTeacher
from meddistill.training.claim import is_first_process
from meddistill.training.data import TaskData
from meddistill.training.storing import Stored, store_for


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


def student_spec(recipe: Recipe, data: TaskData) -> ModelSpec:
    """The student that the recipe asks for, for these data."""
    return ModelSpec(
        name=recipe.model.name,
        in_channels=data.source.in_channels,
        num_classes=data.num_classes,
        dims=data.source.dims,
        options=dict(recipe.model.options),
        class_names=tuple(data.source.class_names),
        size=tuple(recipe.data.size),
    )


def teacher_for(recipe: Recipe, method: Method, spec: ModelSpec) -> Teacher | None:
    """The teacher that the recipe names; None when the method needs none.

    Raises:
        ConfigError: the method needs a teacher and none is given.
        TeacherError: it cannot be loaded or does not fit the task.
    """
    return build_teacher(recipe, spec) if method.needs_teacher else None


def build_teacher(recipe: Recipe, spec: ModelSpec) -> Teacher:
    """The teacher that the recipe names.

    Raises:
        ConfigError: none is named.
        TeacherError: it cannot be loaded or does not fit the task.
    """
    config = recipe.teacher
    if config.path is None:
        hint = f"the study trains row {config.row!r} first; or " if config.row else ""
        raise ConfigError(f"{recipe.name} needs a teacher: {hint}give --teacher.path RUN_OR_WEIGHTS")
    given: dict[str, Any] = {}
    if config.model is not None:
        shape = {"in_channels": spec.in_channels, "num_classes": spec.num_classes, "dims": spec.dims}
        given = {"model": config.model.name, **shape, **config.model.options}
    teacher = load_teacher(
        config.path,
        mean=config.mean,
        std=config.std,
        size=config.size,
        class_map=config.class_map,
        **given,
    )
    teacher.check_fits(num_classes=spec.num_classes, in_channels=spec.in_channels)
    return teacher


def prepare(
    recipe: Recipe, data: TaskData, method: Method, teacher: Teacher | None, stores: Path
) -> Prepared:
    """Check the teacher, store its logits, calibrate it, and let the method look at them.

    Raises:
        TeacherError: the teacher is below `teacher.floor`, must be calibrated without a calibration split, or
            its store does not fit.
        RunError: the store cannot be written.
    """
    if teacher is None:
        method.prepare(Context(num_classes=data.num_classes, epochs=recipe.training.epochs))
        return Prepared()
    if method.needs_teacher_temperature and not data.split.cases.get("calibration"):
        raise TeacherError(
            "confidence_temperature: calibrate needs a calibration split; set data.splits.carve.calibration "
            "to 0.08, or give the temperature as a number"
        )
    scores = check_teacher(recipe, data, teacher)
    stored = store_for(recipe, data, teacher, stores)
    if stored is not None and is_first_process():
        print(stored, file=sys.stderr, flush=True)
    calibration = calibrate(recipe, data, teacher)
    of_images = None if stored is None else stored.of_images(tuple(data.cases("train")))
    method.prepare(
        Context(
            num_classes=data.num_classes,
            epochs=recipe.training.epochs,
            teacher_batches=lambda: training_logits(recipe, data, of_images or teacher),
            teacher_temperature=calibration.temperature if calibration else None,
        )
    )
    return Prepared(scores, calibration, stored)


def check_teacher(recipe: Recipe, data: TaskData, teacher: Teacher) -> dict[str, Any]:
    """Score the teacher on the selection split (or else on the training split), before any work is done.

    Raises:
        TeacherError: the teacher is below `teacher.floor`.
    """
    held_out = "selection" if data.split.cases.get("selection") else "train"
    loader = data.loader(held_out, batch_size=recipe.training.batch_size)
    check = teacher.check(loader, num_classes=data.num_classes, floor=recipe.teacher.floor)
    return {"split": held_out, **check.to_json()}


def calibrate(recipe: Recipe, data: TaskData, teacher: Teacher) -> Calibration | None:
    """Fit the teacher's temperature on the calibration split; None where there is none."""
    if not data.split.cases.get("calibration"):
        return None
    loader = data.loader("calibration", batch_size=recipe.training.batch_size)
    return fit_temperature(lambda: _live(loader, teacher), criterion=recipe.training.calibration)


def training_logits(
    recipe: Recipe, data: TaskData, source: Teacher | TeacherLogits
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass over (teacher logits, labels) of the training split, live or from the store."""
    loader = data.loader("train", batch_size=recipe.training.batch_size)
    if isinstance(source, BaseTeacher):
        yield from _live(loader, source)
        return
    for batch in loader:
        yield source.read([(0, index) for index in batch["index"].tolist()]), batch["label"]


def _live(loader: Iterable[Any], teacher: Teacher) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in loader:
        yield teacher(batch["image"].to(teacher.device)).cpu(), batch["label"]
