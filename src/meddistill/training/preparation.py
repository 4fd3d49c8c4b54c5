"""Before the first step: load the teacher, check it, calibrate it, and let the method look at its outputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from meddistill.config import Recipe
from meddistill.errors import ConfigError, TeacherError
from meddistill.methods import Batch, Context, Method
from meddistill.models import ModelSpec
from meddistill.teachers import Calibration, Teacher, fit_temperature, load_teacher
from meddistill.training.data import TaskData
from meddistill.training.hardware import takes_bf16


@dataclass(frozen=True)
class Prepared:
    """What is worth writing down: the teacher's own scores, and its calibration; None without."""

    teacher: dict[str, Any] | None = None
    calibration: Calibration | None = None


def teacher_for(recipe: Recipe, method: Method, spec: ModelSpec) -> Teacher | None:
    """The teacher that the recipe names; None when the method needs none.

    Raises:
        ConfigError: the method needs a teacher and none is given.
        TeacherError: it cannot be loaded or does not fit the task.
    """
    if not method.needs_teacher:
        return None
    config = recipe.teacher
    if config.path is None:
        hint = f"the study trains row {config.row!r} first; or " if config.row else ""
        raise ConfigError(
            f"method {recipe.method['name']!r} needs a teacher: {hint}give --teacher.path RUN_OR_WEIGHTS"
        )
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
        dtype=torch.bfloat16 if takes_bf16(config.precision, recipe.training.accelerator) else None,
        **given,
    )
    teacher.check_fits(num_classes=spec.num_classes, in_channels=spec.in_channels)
    return teacher


def prepare(
    recipe: Recipe, data: TaskData, method: Method, teacher: Teacher | None, device: torch.device
) -> Prepared:
    """Check and calibrate the teacher on held-out splits, then call `method.prepare`.

    Raises:
        TeacherError: the teacher is below `teacher.floor`, or must be calibrated without a calibration split.
    """
    epochs = recipe.training.epochs
    if teacher is None:
        method.prepare(Context(num_classes=data.num_classes, epochs=epochs))
        return Prepared()
    teacher.to(device)
    batch_size = recipe.training.batch_size

    def batches(split: str) -> Iterator[tuple[Tensor, Tensor]]:
        return _answers(teacher, data.loader(split, batch_size=batch_size), device)

    held_out = "selection" if data.split.cases.get("selection") else "train"
    loader = data.loader(held_out, batch_size=batch_size)
    check = teacher.check(loader, num_classes=data.num_classes, floor=recipe.teacher.floor)
    calibration = None
    if data.split.cases.get("calibration"):
        calibration = fit_temperature(lambda: batches("calibration"), criterion=recipe.training.calibration)
    elif method.needs_teacher_temperature:
        raise TeacherError(
            "confidence_temperature: calibrate needs a calibration split; set data.splits.carve.calibration "
            "to 0.08, or give the temperature as a number"
        )
    method.prepare(
        Context(
            num_classes=data.num_classes,
            epochs=epochs,
            teacher_batches=lambda: batches("train"),
            teacher_temperature=calibration.temperature if calibration else None,
        )
    )
    return Prepared({"split": held_out, **check.to_json()}, calibration)


def rehearse(
    recipe: Recipe, data: TaskData, method: Method, teacher: Teacher | None, device: torch.device
) -> None:
    """Prepare the method on its first two batches: enough to time its steps, not to train with it."""
    context = Context(num_classes=data.num_classes, epochs=recipe.training.epochs, teacher_temperature=1.0)
    if teacher is not None:
        teacher.to(device)
        loader = data.loader("train", batch_size=recipe.training.batch_size)
        seen = list(_answers(teacher, itertools.islice(loader, 2), device))
        context = replace(context, teacher_batches=lambda: seen)
    method.prepare(context)


def _answers(
    teacher: Teacher, loader: Iterable[Batch], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """The teacher's logits and the labels of each batch, on the CPU."""
    for batch in loader:
        yield teacher(batch["image"].to(device)).cpu(), batch["label"]
