"""The teacher that a recipe names."""

from __future__ import annotations

from typing import Any, cast

import torch

from meddistill.config import Recipe
from meddistill.config.schema import TeacherSourceConfig
from meddistill.errors import ConfigError, TeacherError
from meddistill.methods import Method
from meddistill.models import ModelSpec
from meddistill.teachers import BaseTeacher, Ensemble, Teacher, load_teacher
from meddistill.teachers.joining import GivenWeights
from meddistill.training.data import TaskData
from meddistill.training.hardware import takes_bf16

_FITTED = ("validation", "validation_per_class")


def teacher_for(recipe: Recipe, method: Method, spec: ModelSpec) -> BaseTeacher | None:
    """The teacher that the recipe names; None when the method needs none.

    Raises:
        ConfigError: the method needs a teacher and none is given.
        TeacherError: it cannot be loaded or does not fit the task.
    """
    return build_teacher(recipe, spec) if method.needs_teacher else None


def build_teacher(recipe: Recipe, spec: ModelSpec) -> BaseTeacher:
    """The teacher that the recipe names, or the ensemble of its members.

    Weights that are to be fitted are still equal, see `weigh`.

    Raises:
        ConfigError: none is named.
        TeacherError: it cannot be loaded or does not fit the task.
    """
    config = recipe.teacher
    teacher: BaseTeacher
    if config.members is None:
        teacher = _load(config, recipe, spec)
    else:
        members = [_load(member, recipe, spec) for member in config.members]
        fitted = config.weights in ("uniform", *_FITTED)
        weights = None if fitted else cast("GivenWeights", config.weights)
        teacher = Ensemble(members, combine=config.combine, weights=weights)
    teacher.check_fits(num_classes=spec.num_classes, in_channels=spec.in_channels)
    return teacher


def weigh(recipe: Recipe, data: TaskData, teacher: BaseTeacher) -> None:
    """Fit the weights of an ensemble on the selection split, where the recipe asks for that.

    Raises:
        TeacherError: there is no selection split, or no member scores above 0 on it.
    """
    config = recipe.teacher
    if not isinstance(teacher, Ensemble) or config.weights not in _FITTED:
        return
    if not data.split.cases.get("selection"):
        raise TeacherError(
            "teacher.weights: validation needs a selection split; set data.splits.carve.selection"
        )
    loader = data.loader("selection", batch_size=recipe.training.batch_size)
    teacher.fit_weights(loader, per_class=config.weights == "validation_per_class")


def _load(config: TeacherSourceConfig, recipe: Recipe, spec: ModelSpec) -> Teacher:
    if config.path is None:
        hint = f"the study trains row {config.row!r} first; or " if config.row else ""
        raise ConfigError(f"{recipe.name} needs a teacher: {hint}give --teacher.path RUN_OR_WEIGHTS")
    given: dict[str, Any] = {}
    if config.model is not None:
        given = {"model": config.model.name, "in_channels": spec.in_channels, **config.model.options}
    teacher = load_teacher(
        config.path,
        num_classes=spec.num_classes if config.class_map is None else None,
        dims=spec.dims,
        standardise=config.standardise,
        mean=config.mean,
        std=config.std,
        size=config.size,
        class_map=config.class_map,
        dtype=torch.bfloat16 if recipe.teacher.precision == "bf16" else None,
        **given,
    )
    if _may_be_rounded(recipe) and teacher.kind != "onnx":
        teacher.dtype = torch.bfloat16
    return teacher


def _may_be_rounded(recipe: Recipe) -> bool:
    """Whether `precision: auto` means bfloat16 here: where that is fast, and nothing is stored."""
    config = recipe.teacher
    live = config.precision == "auto" and config.mode == "live"
    return live and takes_bf16("auto", recipe.training.accelerator)
