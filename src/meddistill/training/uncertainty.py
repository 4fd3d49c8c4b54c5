"""`assess`: calibrate the student of a finished run after the fact, and say what its uncertainty is worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from meddistill.calibration import CALIBRATORS, Calibrated, Fitted, save_calibrator
from meddistill.config import Recipe
from meddistill.config.attacks import attacked_sets
from meddistill.errors import ConfigError, RunError, unknown_name
from meddistill.evaluation.examination import Examination
from meddistill.evaluation.selective_summary import summarise_selective
from meddistill.evaluation.uncertainty import BORDER
from meddistill.files import csv_text, write_json, write_text
from meddistill.models import ModelSpec
from meddistill.training.calibrating import calibrate_student, held_out_split
from meddistill.training.data import TaskData
from meddistill.training.evaluate import cases_of, check_finished, chosen_student, own_data, read_recipe
from meddistill.training.examining import Examined, examine
from meddistill.training.run_folder import RunFolder, read_json
from meddistill.training.ways import Asked, Way, check_way, way_of

NO_CALIBRATION = "none"
ERROR_BELOW = 0.7
PASSES = 10


@dataclass(frozen=True)
class Question:
    """What is asked of a student.

    Args:
        calibrate: a name in `CALIBRATORS`, or `none`.
        uncertainty: a name in `WAYS`.
        members: folders of the other runs of an ensemble.
        passes: how often dropout is drawn for `mc_dropout`.
        error_below: Dice below which a case is an error.

    Raises:
        ConfigError: an unknown name, a number out of range, or members that do not fit the way.
    """

    calibrate: str = NO_CALIBRATION
    uncertainty: str = "entropy"
    members: tuple[Path, ...] = ()
    passes: int = PASSES
    error_below: float = ERROR_BELOW

    def __post_init__(self) -> None:
        kinds = [NO_CALIBRATION, *CALIBRATORS]
        if self.calibrate not in kinds:
            raise ConfigError(f"--calibrate: {unknown_name('calibration', self.calibrate, kinds)}")
        check_way(self.uncertainty, self.members)
        if self.passes < 2:
            raise ConfigError(f"--passes is {self.passes}; give 2 or more")
        if not 0 <= self.error_below <= 1:
            raise ConfigError(f"--error-below is {self.error_below}; give a Dice in 0..1")


def assess(run: Path | str, question: Question, *, split: str = "test") -> dict[str, Any]:
    """Examine the student of a run on a split; write what was found into its folder and return it.

    The calibrator is fitted on the calibration split of the run, or on its selection split where there is no
    other, and stored as `evaluation/calibrator.safetensors`, which stays until another one is fitted. Weights
    and scores of the run stay as they are. `evaluation/uncertainty.json` holds what is returned,
    `uncertainty-scores.csv` the score and uncertainty of each case.

    Args:
        run: a finished run folder.
        question: what to ask.
        split: as for `evaluate`, but no set of attacked images.

    Returns:
        `split`, `task`, `cases`, `groups`; `uncalibrated`: the measures of `CalibrationTally` on the split;
        `calibration` (None without): what was fitted, on which split (`fitted_on`) of how many cases
        (`fitted_cases`), and the measures behind it (`calibrated`); `uncertainty`: the `kind`, how many
        `answers` were mixed, the `border` round a structure; `error_below` (None for answers about whole
        images); and under `measures` for each measure, the leading one first, `cases` and, for maps,
        `pixels`, as `summarise_selective` gives them.

    Raises:
        RunError: not a finished run, a split without cases or labels, data that were divided otherwise, or a
            member that does not fit.
        ConfigError: a calibration or a way that does not suit the student.
        DataError: a case cannot be read.
    """
    folder = RunFolder(Path(run))
    recipe = read_recipe(folder)
    check_finished(folder)
    if split in attacked_sets(recipe.attacks):
        raise RunError(
            f"{split} holds attacked images, whose uncertainty is not examined; give another --split"
        )
    task = _task_of(folder, recipe, split)
    examination, way, fitted = _examined(task, question)
    found = {
        "split": split,
        "task": examination.task,
        "cases": len(examination.findings),
        "groups": len(set(examination.groups.tolist())),
        "calibration": None if fitted is None else _described(fitted, task.own, examination),
        "uncalibrated": examination.before.to_json(),
        "uncertainty": {"kind": question.uncertainty, "answers": way.answers, "border": BORDER},
        "error_below": question.error_below if examination.task == "segmentation" else None,
        "measures": _summaries(examination, seed=recipe.seed),
    }
    if fitted is not None:
        save_calibrator(fitted.calibrator, folder.calibrator)
    write_text(folder.uncertainty_scores, _csv(examination))
    write_json(folder.uncertainty, found)
    stored: dict[str, Any] = read_json(folder.uncertainty)
    return stored


@dataclass(frozen=True)
class _Task:
    """A student with the cases to examine it on.

    Args:
        recipe: of its run.
        spec: what its logits mean.
        student: on its device.
        data: hold the cases.
        part: name of their split in `data`.
        own: the data of the run, to calibrate on.
    """

    recipe: Recipe
    spec: ModelSpec
    student: nn.Module
    data: TaskData
    part: str
    own: TaskData


def _task_of(folder: RunFolder, recipe: Recipe, split: str) -> _Task:
    spec, student, _ = chosen_student(folder, recipe)
    data, part = cases_of(folder, recipe, split, spec)
    own = own_data(recipe) if split in recipe.tests else data
    return _Task(recipe, spec, student, data, part, own)


def _examined(task: _Task, question: Question) -> tuple[Examination, Way, Fitted | None]:
    """Fit what is to be fitted, and ask about every case."""
    members = [_member(run, task.spec, task.recipe) for run in question.members]
    fitted, *others = (_fitted(student, task, question.calibrate) for student in (task.student, *members))
    asked = Asked(
        _behind(task.student, fitted),
        task.data.config.shape,
        members=tuple(map(_behind, members, others)),
        passes=question.passes,
        seed=task.recipe.seed,
    )
    way = way_of(question.uncertainty, asked)
    data = task.data
    examination = Examination(data.task, data.num_classes, way.measures, error_below=question.error_below)
    who = Examined(task.student, None if fitted is None else fitted.calibrator, way)
    examine(who, data, task.part, examination, batch_size=task.recipe.training.batch_size)
    return examination, way, fitted


def _member(run: Path, spec: ModelSpec, recipe: Recipe) -> nn.Module:
    """The student of another run, if it answers the same question."""
    folder = RunFolder(run)
    if not folder.weights.is_file():
        raise RunError(f"--members: {run} is not a run folder: {folder.weights.name} is missing")
    other, member, _ = chosen_student(folder, recipe)
    for name in ("task", "class_names", "in_channels", "dims"):
        theirs, ours = getattr(other, name), getattr(spec, name)
        if theirs != ours:
            raise RunError(
                f"--members: the student of {run} has {name} {theirs}, that of the run has {ours}; give runs "
                "on the same task"
            )
    return member


def _fitted(student: nn.Module, task: _Task, kind: str) -> Fitted | None:
    if kind == NO_CALIBRATION:
        return None
    recipe = task.recipe
    return calibrate_student(student, kind, task.own, batch_size=recipe.training.batch_size, seed=recipe.seed)


def _behind(student: nn.Module, fitted: Fitted | None) -> nn.Module:
    """The student with its calibrator behind it."""
    return student if fitted is None else Calibrated(student, fitted.calibrator).eval()


def _described(fitted: Fitted, own: TaskData, examination: Examination) -> dict[str, Any]:
    split = held_out_split(own)
    where = {"fitted_on": split, "fitted_cases": len(own.cases(split))}
    return {**fitted.to_json(), **where, "calibrated": examination.after.to_json()}


def _summaries(examination: Examination, *, seed: int) -> dict[str, Any]:
    """For each measure what it is worth, by case and by pixel."""
    groups, maps = examination.groups, examination.task == "segmentation"
    rankings = {
        measure: {"cases": examination.cases(measure)}
        | ({"pixels": examination.pixels(measure)} if maps else {})
        for measure in examination.measures
    }
    return {
        measure: {of: summarise_selective(ranking, groups=groups, seed=seed) for of, ranking in both.items()}
        for measure, both in rankings.items()
    }


def _csv(examination: Examination) -> str:
    columns = ["case", "group", "stratum", "score", "wrong", *examination.measures]
    return csv_text(columns, examination.rows())
