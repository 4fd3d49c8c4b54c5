"""Before a training: cases whose label is probably wrong are found by cross-validation and left out."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.config import CleanConfig, Recipe, TeacherConfig
from meddistill.data.case import IGNORE_INDEX
from meddistill.data.cleaning import check_cleanlab, draw_folds, wrong_labels
from meddistill.errors import ConfigError, RunError
from meddistill.evaluation import answer_images
from meddistill.files import csv_text, write_text
from meddistill.training.assembly import assemble
from meddistill.training.data import TaskData
from meddistill.training.launcher import make_trainer, quiet
from meddistill.training.preparation import context_of
from meddistill.training.run_folder import RunFolder


@dataclass(frozen=True)
class Cleaning:
    """What cross-validation says of the labels of the training split, all (N, ...).

    Args:
        config: how it was found.
        cases: ids.
        noted: class that each label names, or `IGNORE_INDEX`.
        probabilities: (N, K) of networks that have not seen the label of the case, nor others of its group.
        wrong: whether the label is probably wrong; such cases are left out.
        made_wrong: whether noise made the label wrong, or None where no noise was made.
        class_names: K names.
    """

    config: CleanConfig
    cases: tuple[str, ...]
    noted: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    wrong: npt.NDArray[np.bool_]
    made_wrong: npt.NDArray[np.bool_] | None
    class_names: tuple[str, ...]

    def __str__(self) -> str:
        return f"label clean-up: {self.wrong.sum()} of {len(self.cases)} training cases are left out"

    def to_json(self) -> dict[str, Any]:
        """Counts for the run folder; `precision` and `recall` are of the labels that noise made wrong.

        `agreement` is the share of cases in which the likeliest class is the noted one.
        """
        known = self.noted != IGNORE_INDEX
        agreement = float((self.probabilities.argmax(1) == self.noted)[known].mean())
        facts = {"cases": len(self.cases), "removed": int(self.wrong.sum()), "agreement": agreement}
        found = {} if self.made_wrong is None else _found(self.wrong, self.made_wrong)
        return {**self.config.model_dump(mode="json"), **facts, **found}

    def to_csv(self) -> str:
        """A line for each case that is left out: noted and suggested class, and how likely each is."""
        rows = []
        for index in np.flatnonzero(self.wrong):
            likely, noted = self.probabilities[index], self.noted[index]
            best = likely.argmax()
            names = (self.class_names[noted], self.class_names[best])
            rows.append([self.cases[index], *names, f"{likely[noted]:.6f}", f"{likely[best]:.6f}"])
        return csv_text(["case", "given", "suggested", "p_given", "p_suggested"], rows)


def check_clean(recipe: Recipe, data: TaskData) -> None:
    """Refuse a clean-up that cannot be made, before any work is done for it.

    Raises:
        ConfigError: the labels are not one class an image, several processes train, or cleanlab is missing.
    """
    if recipe.data.clean is None:
        return
    if data.task != "classification" or not data.has_labels("train"):
        raise ConfigError(
            "data.clean compares labels of one class an image, and these are others; leave it out"
        )
    if recipe.training.devices * recipe.training.nodes > 1:
        raise ConfigError(
            "data.clean trains its folds in one process; give training.devices 1 and training.nodes 1"
        )
    check_cleanlab()


def cleaned(
    recipe: Recipe,
    data: TaskData,
    folder: RunFolder,
    *,
    resumed: bool,
    say: Callable[[str], None] | None = None,
) -> Cleaning | None:
    """Narrow the training split to the cases whose label is trusted, where the recipe asks for it.

    Args:
        recipe: says how.
        data: decoded; narrowed in place.
        folder: of the run; a resumed one names the cases that were left out when it began.
        resumed: whether it goes on.
        say: called with a line on what was left out.

    Returns:
        What was found; None without clean-up, or where the folder already says it.

    Raises:
        ConfigError: there are too few groups for the folds.
        RunError, DataError: a network diverges, or the folder does not name the cases any more.
    """
    config = recipe.data.clean
    if config is None:
        return None
    if resumed:
        _leave_out(data, _removed(folder))
        return None
    found = find_wrong(recipe, config, data)
    _leave_out(data, {case for case, wrong in zip(found.cases, found.wrong, strict=True) if wrong})
    if say is not None:
        say(str(found))
    return found


def find_wrong(recipe: Recipe, config: CleanConfig, data: TaskData) -> Cleaning:
    """Train the recipe's network once for each fold on the others, and judge the labels by its answers.

    Raises:
        ConfigError: there are too few groups for the folds.
        RunError, DataError: a network diverges.
    """
    cache = data.dataset("train").cache
    noted = cache.labels.read(range(len(cache))).numpy().astype(np.int64)
    probabilities = np.empty((len(cache), data.num_classes))
    for held in draw_folds(cache, config.folds, seed=recipe.seed):
        probabilities[held] = _answers(for_folds(recipe, config), data, held)
    made_wrong = None
    if data.noise is not None and "train" in data.noise.splits:
        made_wrong = np.array([change.changed > 0 for change in cache.changes])
    return Cleaning(
        config,
        tuple(case.id for case in cache.cases),
        noted,
        probabilities,
        wrong_labels(noted, probabilities, filter_by=config.filter_by),
        made_wrong,
        tuple(data.source.class_names),
    )


def for_folds(recipe: Recipe, config: CleanConfig) -> Recipe:
    """The recipe by which a fold's network is trained: without teacher or start, to the last epoch."""
    training = recipe.training.model_copy(
        update={"epochs": config.epochs or recipe.training.epochs, "average": None, "compile": False}
    )
    alone = {"method": {"name": "supervised"}, "teacher": TeacherConfig(), "fine_tune": None}
    return recipe.model_copy(update={**alone, "training": training})


def write_clean(folder: RunFolder, found: Cleaning | None) -> None:
    """Write `label-clean.csv`; nothing where no labels were cleaned.

    Raises:
        RunError: the file cannot be written.
    """
    if found is not None:
        write_text(folder.label_clean, found.to_csv())


def _answers(recipe: Recipe, data: TaskData, held: Sequence[int]) -> npt.NDArray[np.float64]:
    """Probabilities (n, K) of the cases at `held` by a network that learnt from all others."""
    others = sorted(set(range(len(data.dataset("train")))) - set(held))
    task = assemble(recipe, _part(data, others))
    trainer = make_trainer(recipe.training)
    task.ready(trainer.strategy.root_device)
    task.method.prepare(context_of(recipe, task.data))
    module = task.module()
    with quiet():
        trainer.fit(module, task.training_loader())
    if trainer.interrupted:
        raise KeyboardInterrupt
    asked = _part(data, held)
    table = answer_images(
        module.student.to(trainer.strategy.root_device),
        asked.loader("train", batch_size=recipe.training.batch_size),
        class_names=data.source.class_names,
        task=data.task,
        cases=asked.cases("train"),
    )
    return table.probabilities


def _part(data: TaskData, positions: Sequence[int]) -> TaskData:
    """The data with some of their training cases alone; nothing is decoded again."""
    part = data.whole()
    part.narrow("train", positions, data.dataset("train").cache.labels)
    return part


def _leave_out(data: TaskData, removed: set[str]) -> None:
    cache = data.dataset("train").cache
    kept = [position for position, case in enumerate(cache.cases) if case.id not in removed]
    data.narrow("train", kept, cache.labels)


def _removed(folder: RunFolder) -> set[str]:
    try:
        with folder.label_clean.open(encoding="utf-8", newline="") as lines:
            return {line["case"] for line in csv.DictReader(lines)}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(
            f"{folder.label_clean} is missing or damaged, so that nobody knows which cases were left out; "
            "train again in a new folder"
        ) from error


def _found(wrong: npt.NDArray[np.bool_], made_wrong: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """How well the marked labels are those that noise made wrong; null where a share is undefined."""
    both = int((wrong & made_wrong).sum())
    return {
        "made_wrong": int(made_wrong.sum()),
        "precision": both / int(wrong.sum()) if wrong.any() else None,
        "recall": both / int(made_wrong.sum()) if made_wrong.any() else None,
    }
