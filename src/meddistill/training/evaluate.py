"""`evaluate`: score a finished run on one split, once, and write the scores into its folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from meddistill.config import Recipe
from meddistill.config.load import check_recipe, read_recipe_mapping
from meddistill.errors import RunError, unknown_name
from meddistill.evaluation import summarise
from meddistill.files import write_json
from meddistill.methods import create_method
from meddistill.models import branch_of, branches_of, load_model
from meddistill.training.claim import check_same_split
from meddistill.training.data import TaskData
from meddistill.training.hardware import device_for
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
    """Score the chosen student on `split` and return the summary.

    A split is scored once: a second call returns what the first one wrote, unless `again` is given. The other
    branches of a student that has several are scored too, below `branches` in the summary.

    Args:
        run: a finished run folder.
        split: one of `train`, `selection`, `calibration`, `test`.
        again: score again and replace the files.

    Raises:
        RunError: not a finished run, a split without cases, or data that were divided otherwise in training.
        TeacherError: the teacher is gone or no longer fits.
    """
    folder = RunFolder(Path(run))
    recipe = read_recipe(folder)
    if not folder.finished:
        raise RunError(
            f"{folder.root} is not finished; go on with `meddistill train ... --out {folder.root} --resume`"
        )
    if folder.summary(split).exists() and not again:
        summary: dict[str, Any] = read_json(folder.summary(split))
        return summary
    with_full_labels = recipe.data.model_copy(update={"supervision": None})
    data = TaskData.from_config(with_full_labels)
    if not data.split.cases.get(split):
        raise RunError(unknown_name("split", split, [n for n, cases in data.split.cases.items() if cases]))
    check_same_split(folder, data)
    spec, student = load_model(folder.weights)
    teacher = teacher_for(recipe, create_method(**recipe.method), spec)
    device = device_for(recipe.training.accelerator)
    student.to(device).eval()
    score = partial(
        score_split,
        data=data,
        split=split,
        class_names=spec.class_names,
        batch_size=recipe.training.batch_size,
        device=device,
    )
    table, reliability = score(student)
    table.write_csv(folder.scores(split))
    if teacher is not None:
        teacher.to(device)
        weigh(recipe, data, teacher)
    gallery = gallery_of_split(student, teacher, data, split, table)
    gallery.save(folder.gallery(split))
    summary = summarise(table, reliability, seed=recipe.seed)
    for name in branches_of(student)[1:]:
        other, bins = score(branch_of(student, name))
        other.write_csv(folder.scores(split, name))
        summary.setdefault("branches", {})[name] = summarise(other, bins, seed=recipe.seed)
    write_json(folder.summary(split), summary)
    return summary
