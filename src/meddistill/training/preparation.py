"""Before the first step: load the teacher, check it, calibrate it, and let the method look at its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from meddistill.config import Recipe
from meddistill.config.schema import TeacherSourceConfig
from meddistill.errors import ConfigError, TeacherError
from meddistill.methods import Context, Method
from meddistill.models import ModelSpec
from meddistill.teachers import BaseTeacher, Calibration, Ensemble, Teacher, fit_temperature, load_teacher
from meddistill.training.data import TaskData


@dataclass(frozen=True)
class Prepared:
    """What is worth writing down: the teacher with its own scores, and its calibration; None without.

    `summary` is one line on the teacher for people; empty without.
    """

    teacher: dict[str, Any] | None = None
    summary: str = ""
    calibration: Calibration | None = None


def teacher_for(recipe: Recipe, method: Method, spec: ModelSpec) -> BaseTeacher | None:
    """The teacher that the recipe names, or the ensemble of its members; None when the method needs none.

    Raises:
        ConfigError: the method needs a teacher and none is given.
        TeacherError: it cannot be loaded or does not fit the task.
    """
    if not method.needs_teacher:
        return None
    config = recipe.teacher
    teacher: BaseTeacher
    if config.members is None:
        teacher = _load(config, recipe, spec)
    else:
        members = [_load(member, recipe, spec) for member in config.members]
        weights = None if isinstance(config.weights, str) else config.weights
        teacher = Ensemble(members, combine=config.combine, weights=weights)
    teacher.check_fits(num_classes=spec.num_classes, in_channels=spec.in_channels)
    return teacher


def _load(config: TeacherSourceConfig, recipe: Recipe, spec: ModelSpec) -> Teacher:
    if config.path is None:
        hint = f"the study trains row {config.row!r} first; or " if config.row else ""
        raise ConfigError(
            f"method {recipe.method['name']!r} needs a teacher: {hint}give --teacher.path RUN_OR_WEIGHTS"
        )
    given: dict[str, Any] = {}
    if config.model is not None:
        given = {"model": config.model.name, "in_channels": spec.in_channels, **config.model.options}
    return load_teacher(
        config.path,
        num_classes=spec.num_classes if config.class_map is None else None,
        dims=spec.dims,
        standardise=config.standardise,
        mean=config.mean,
        std=config.std,
        size=config.size,
        class_map=config.class_map,
        **given,
    )


def prepare(
    recipe: Recipe, data: TaskData, method: Method, teacher: BaseTeacher | None, device: torch.device
) -> Prepared:
    """Weigh, check and calibrate the teacher on held-out splits, then call `method.prepare`.

    Raises:
        TeacherError: the teacher is below `teacher.floor`, or lacks the split to be weighed or calibrated on.
    """
    epochs = recipe.training.epochs
    if teacher is None:
        method.prepare(Context(num_classes=data.num_classes, epochs=epochs))
        return Prepared()
    teacher.to(device)
    batch_size = recipe.training.batch_size

    def batches(split: str) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in data.loader(split, batch_size=batch_size):
            yield teacher(batch["image"].to(device)).cpu(), batch["label"]

    held_out = "selection" if data.split.cases.get("selection") else "train"
    loader = data.loader(held_out, batch_size=batch_size)
    if isinstance(teacher, Ensemble) and recipe.teacher.weights in ("validation", "validation_per_class"):
        if held_out != "selection":
            raise TeacherError(
                "teacher.weights: validation needs a selection split; set data.splits.carve.selection"
            )
        teacher.fit_weights(loader, per_class=recipe.teacher.weights == "validation_per_class")
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
    described = {"fingerprint": teacher.fingerprint(), "description": teacher.describe()}
    return Prepared({"split": held_out, **check.to_json(), **described}, check.summary(held_out), calibration)
