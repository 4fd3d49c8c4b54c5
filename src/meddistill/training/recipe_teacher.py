"""The teacher that a recipe names."""

from __future__ import annotations

from typing import Any

import torch

from meddistill.config import Recipe
from meddistill.errors import ConfigError
from meddistill.methods import Method
from meddistill.models import ModelSpec
from meddistill.teachers import Teacher, load_teacher
from meddistill.training.hardware import takes_bf16


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
        dtype=_precision(recipe),
        **given,
    )
    teacher.check_fits(num_classes=spec.num_classes, in_channels=spec.in_channels)
    return teacher


def _precision(recipe: Recipe) -> torch.dtype | None:
    """What the recipe's teacher computes in; None for the precision of its weights."""
    config = recipe.teacher
    if config.precision == "auto" and config.mode != "live":
        return None
    return torch.bfloat16 if takes_bf16(config.precision, recipe.training.accelerator) else None
