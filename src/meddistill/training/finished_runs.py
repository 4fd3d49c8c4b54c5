"""Finished runs with the data of their test splits, ready for something to be done to the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meddistill.config import Recipe
from meddistill.data.case import is_labelled
from meddistill.errors import RunError
from meddistill.training.claim import check_same_split
from meddistill.training.data import TaskData
from meddistill.training.evaluate import check_finished, own_data, read_recipe
from meddistill.training.run_folder import RunFolder
from meddistill.training.tables import row_of


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, its recipe and its own data with full and true labels."""

    folder: RunFolder
    recipe: Recipe
    data: TaskData

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.root.name

    @property
    def row(self) -> str:
        """What it is a seed of."""
        return row_of(self.folder.root)


def finished_runs(runs: Sequence[Path | str]) -> list[FinishedRun]:
    """The runs in these folders; those that read the same data share them.

    Raises:
        RunError: not a finished run, one without a test split or labels, or two folders of one name.
        DataError: its data cannot be read, or are divided otherwise than in training.
    """
    folders = [RunFolder(Path(run).resolve()) for run in runs]
    names = [folder.root.name for folder in folders]
    if len(set(names)) < len(names):
        raise RunError("two runs have the same name; give each run once, in folders of different names")
    known: dict[tuple[str, int], TaskData] = {}
    return [_finished(folder, known) for folder in folders]


def _finished(folder: RunFolder, known: dict[tuple[str, int], TaskData]) -> FinishedRun:
    recipe = read_recipe(folder)
    check_finished(folder)
    drawn = 0 if recipe.data.noise is None else recipe.seed  # the one thing that a seed changes here
    key = (recipe.data.model_dump_json(), drawn)
    if key not in known:
        known[key] = own_data(recipe)
    data = known[key]
    if not data.split.cases.get("test"):
        raise RunError(f"{folder.root} has no test split")
    if not is_labelled(data.source):
        raise RunError(f"the test images of {folder.root} have no labels to score against")
    check_same_split(folder, data)
    return FinishedRun(folder, recipe, data)
