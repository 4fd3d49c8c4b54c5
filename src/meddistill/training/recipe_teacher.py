"""The teacher that a recipe names."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from meddistill.config import Recipe
from meddistill.config.load import read_recipe_mapping
from meddistill.config.schema import TeacherConfig, TeacherSourceConfig
from meddistill.data.case import is_labelled
from meddistill.errors import ConfigError, MedDistillError, TeacherError
from meddistill.methods import Method, create_method
from meddistill.models import ModelSpec
from meddistill.teachers import BaseTeacher, Ensemble, Teacher, load_teacher
from meddistill.teachers.joining import GivenWeights
from meddistill.training.data import TaskData
from meddistill.training.hardware import takes_bf16
from meddistill.training.run_folder import RunFolder, read_json

_FITTED = ("best", "validation", "validation_per_class")


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
        independent = spec.task == "multi_label"
        teacher = Ensemble(members, combine=config.combine, weights=weights, independent=independent)
    teacher.check_fits(num_classes=spec.num_classes, in_channels=spec.in_channels)
    return teacher


def weigh(recipe: Recipe, data: TaskData, teacher: BaseTeacher) -> None:
    """Fit the weights of an ensemble, or choose its best member, by the selection split, where that is asked.

    Where no labels of the split are read, what counts is what the members scored on the selection splits of
    the runs that trained them.

    Raises:
        TeacherError: there is no selection split, no member scores above 0 on it, or it has no labels and
            some member no run with such a score.
    """
    config = recipe.teacher
    if not isinstance(teacher, Ensemble) or config.weights not in _FITTED:
        return
    best = config.weights == "best"
    if not (is_labelled(data.source) and create_method(**recipe.method).needs_labels):
        found = recorded_scores(config)
        if best:
            teacher.choose_best(found)
        else:
            teacher.set_weights(found)
        return
    if not data.split.cases.get("selection"):
        raise TeacherError(
            f"teacher.weights: {config.weights} needs a selection split; set data.splits.carve.selection"
        )
    loader = data.loader("selection", batch_size=recipe.training.batch_size)
    if best:
        teacher.choose_best(teacher.overall(teacher.score_members(loader)))
    else:
        teacher.fit_weights(loader, per_class=config.weights == "validation_per_class")


def recorded_scores(config: TeacherConfig) -> list[float]:
    """What each member's run scored on its own selection split with the weights that it chose.

    Raises:
        TeacherError: a member is no run with such a score, or weights for each class are wanted.
    """
    if config.weights == "validation_per_class":
        raise TeacherError(
            f"teacher.weights: {config.weights} needs labels, and no labels of these images are read; give "
            "validation or best (the scores of the teachers' own runs), uniform, or the numbers"
        )
    return [_recorded_score(Path(str(member.path))) for member in config.members or ()]


def _recorded_score(path: Path) -> float:
    folder = RunFolder(path)
    try:
        last = read_json(folder.state)["epochs_done"] - 1
        keeps_last = read_recipe_mapping(str(folder.config))["training"].get("keep") == "last"
        epoch = last if keeps_last else folder.read_state()["best_epoch"]
        with open(folder.history, encoding="utf-8", newline="") as rows:
            scores = {int(row["epoch"]): float(row[_column(row)]) for row in csv.DictReader(rows)}
        return scores[epoch]
    except (MedDistillError, OSError, LookupError, ValueError, TypeError, StopIteration) as error:
        raise TeacherError(
            f"teacher.weights: no labels of these images are read, and {path} is no run with a score on its "
            "own selection split; give uniform, or the numbers"
        ) from error


def _column(row: Mapping[str, str]) -> str:
    """The column of the score by which the epoch was chosen."""
    return next(name for name in ("selection_dice", "selection_auroc") if name in row)


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
