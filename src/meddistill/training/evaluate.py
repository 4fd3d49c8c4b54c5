"""`evaluate`: score a finished run on one split, once, and write the scores into its folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from meddistill.config import Recipe
from meddistill.config.attacks import attacked_sets
from meddistill.config.load import check_recipe, read_recipe_mapping
from meddistill.data.case import is_labelled
from meddistill.data.task import answers_images
from meddistill.errors import RunError, unknown_name
from meddistill.evaluation import summarise
from meddistill.files import write_json
from meddistill.methods import create_method
from meddistill.models import ModelSpec, branch_of, branches_of, load_model
from meddistill.training.answering import evaluate_answers
from meddistill.training.attacks import disturbance_of, write_findings
from meddistill.training.claim import check_same_split, check_same_test
from meddistill.training.data import TaskData
from meddistill.training.disturbed import score_disturbed
from meddistill.training.further_tests import find_test
from meddistill.training.hardware import device_for
from meddistill.training.label_noise import when_scored
from meddistill.training.recipe_teacher import teacher_for, weigh
from meddistill.training.run_folder import RunFolder, read_json
from meddistill.training.scoring import gallery_of_split, score_split


def read_recipe(folder: RunFolder) -> Recipe:
    """The resolved recipe of a run.

    Raises:
        RunError: the folder is not a run.
        ConfigError: its recipe is damaged.
    """
    if not folder.config.is_file():
        raise RunError(f"{folder.root} is not a run folder: config.yaml is missing")
    return check_recipe(read_recipe_mapping(str(folder.config)))


def evaluate(run: Path | str, *, split: str = "test", again: bool = False) -> dict[str, Any]:
    """Score the chosen student on `split`, on a further test set or under an attack; return the summary.

    A split is scored once: a second call returns what the first one wrote, unless `again` is given. The other
    branches of a student that has several are scored too, below `branches` in the summary; under an attack
    only the student itself is.

    Args:
        run: a finished run folder.
        split: one of `train`, `selection`, `calibration`, `test`, a name among the recipe's `tests`, or a set
            of its `attacks`, for example `pgd-2`.
        again: score again and replace the files.

    Raises:
        RunError: not a finished run, a split without cases or labels, or data that were divided otherwise in
            training.
        TeacherError: the teacher is gone or no longer fits.
    """
    folder = RunFolder(Path(run))
    recipe = read_recipe(folder)
    check_finished(folder)
    known = folder.summary(split).exists() and not again
    summary: dict[str, Any] = read_json(folder.summary(split)) if known else _score(folder, recipe, split)
    if recipe.attacks:
        write_findings(folder, recipe.attacks)
    return summary


def check_finished(folder: RunFolder) -> None:
    """Refuse a run whose training has not ended.

    Raises:
        RunError: it has not.
    """
    if not folder.finished:
        raise RunError(
            f"{folder.root} is not finished; go on with `meddistill train ... --out {folder.root} --resume`"
        )


def _score(folder: RunFolder, recipe: Recipe, split: str) -> dict[str, Any]:
    """Score the student of a run, write its files and return the summary."""
    spec, student, device = chosen_student(folder, recipe)
    attacked = attacked_sets(recipe.attacks).get(split)
    data, part = cases_of(folder, recipe, split if attacked is None else attacked.config.of, spec)
    if attacked is not None:
        table, summary = score_disturbed(
            student,
            data,
            part,
            disturbance_of(attacked),
            batch_size=recipe.training.batch_size,
            device=device,
            seed=recipe.seed,
        )
        table.write_csv(folder.scores(split))
        write_json(folder.summary(split), summary)
        return summary
    teacher = teacher_for(recipe, create_method(**recipe.method), spec)
    if teacher is not None:
        teacher.to(device)
        lone = recipe.teacher.members is None
        weigh(recipe, data if part == split or lone else own_data(recipe), teacher)
    if answers_images(data.source):
        return evaluate_answers(
            student,
            teacher,
            data,
            part,
            folder=folder,
            split=split,
            batch_size=recipe.training.batch_size,
            device=device,
            seed=recipe.seed,
        )
    score = partial(
        score_split,
        data=data,
        split=part,
        class_names=spec.class_names,
        batch_size=recipe.training.batch_size,
        device=device,
    )
    scores, reliability = score(student)
    scores.write_csv(folder.scores(split))
    gallery = gallery_of_split(student, teacher, data, part, scores)
    gallery.save(folder.gallery(split))
    summary = summarise(scores, reliability, seed=recipe.seed)
    for name in branches_of(student)[1:]:
        other, bins = score(branch_of(student, name))
        other.write_csv(folder.scores(split, name))
        summary.setdefault("branches", {})[name] = summarise(other, bins, seed=recipe.seed)
    write_json(folder.summary(split), summary)
    return summary


def chosen_student(folder: RunFolder, recipe: Recipe) -> tuple[ModelSpec, nn.Module, torch.device]:
    """The chosen student of a run, ready to answer on the device that its recipe names."""
    spec, student = load_model(folder.weights)
    device = device_for(recipe.training.accelerator)
    return spec, student.to(device).eval(), device


def cases_of(folder: RunFolder, recipe: Recipe, split: str, spec: ModelSpec) -> tuple[TaskData, str]:
    """The data that hold what is called `split` in `evaluate`, and the name of their split.

    Raises:
        RunError: an unknown split, one without cases or labels, or data that were divided otherwise.
        DataError: the data cannot be used.
    """
    if split in recipe.tests:
        data = find_test(recipe, split, spec)
        check_same_test(folder, split, data)
        return data, "test"
    data = own_data(recipe)
    known = [name for name, cases in data.split.cases.items() if cases] if is_labelled(data.source) else []
    if split not in known and data.split.cases.get(split):
        others = ", ".join(recipe.tests)
        raise RunError(
            f"the {split} split has no labels to score against"
            + (f"; the test sets of this run are {others}" if others else "")
        )
    if split not in known:
        raise RunError(unknown_name("split", split, [*known, *recipe.tests, *attacked_sets(recipe.attacks)]))
    check_same_split(folder, data)
    return data, split


def own_data(recipe: Recipe) -> TaskData:
    """The data of the run, with the full and true labels of every case that it was trained on."""
    changes = {"supervision": None, "noise": when_scored(recipe.data.noise)}
    return TaskData.from_config(recipe.data.model_copy(update=changes), seed=recipe.seed)
