"""From finished run folders to the comparison table and page of a study."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from meddistill.config import Recipe, recipe_to_yaml
from meddistill.errors import RunError, unknown_name
from meddistill.evaluation import Comparison, ScoreTable, compare_runs
from meddistill.files import write_json, write_text
from meddistill.report import ComparedRun, write_comparison
from meddistill.training.evaluate import read_recipe
from meddistill.training.hardware import command_line
from meddistill.training.run_folder import RunFolder, read_json
from meddistill.training.study import PlannedRun

_SEED = re.compile(r"-s\d+$")


TABLE_METRICS = ("dice", "dice_both_empty_1", "iou", "hd95", "ece")
"""What a study's table shows; `dice_both_empty_1` also rewards leaving an image without lesion empty."""


def compare_folders(folders: Sequence[Path | str], *, metrics: Sequence[str] = TABLE_METRICS) -> Comparison:
    """Compare run folders on their test scores; the first folder's row is the baseline.

    Folders called `ROW-sSEED` are seeds of one row; rows are paired seed by seed. `FOLDER:BRANCH` means
    another branch of a student that has several, as a row of its own.

    Raises:
        RunError: fewer than two rows, a folder that is given twice, is no run or has no test scores (of that
            branch), runs of one row that differ in more than the seed, or runs scored on different cases.
    """
    rows: dict[str, list[_Scored]] = {}
    for folder in folders:
        run = _Scored.parse(str(folder))
        if run in (row := rows.setdefault(run.row, [])):
            raise RunError(f"{folder} is given twice; name each run once")
        row.append(run)
    if len(rows) < 2:
        raise RunError("compare needs the runs of at least two rows, for example runs/iid-s0 runs/kd-s0")
    for name, row in rows.items():
        row.sort(key=lambda run: run.seed)
        _check_row(name, [run.folder for run in row])
    tables = {name: [run.table() for run in row] for name, row in rows.items()}
    return compare_runs(tables, baseline=next(iter(rows)), metrics=metrics)


@dataclass(frozen=True)
class _Scored:
    """A run folder, and the branch of its student that is meant; None for the one to use."""

    folder: Path
    branch: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `FOLDER` or `FOLDER:BRANCH`."""
        folder, branch = Path(text), None
        if not folder.exists() and ":" in text:
            place, _, branch = text.rpartition(":")
            folder = Path(place)
        if not RunFolder(folder).config.is_file():
            raise RunError(f"{folder} is not a run folder: config.yaml is missing")
        return cls(folder.resolve(), branch)

    @property
    def row(self) -> str:
        """Name of the row that it is a seed of."""
        name = _SEED.sub("", self.folder.name)
        return name if self.branch is None else f"{name}:{self.branch}"

    @property
    def seed(self) -> int:
        """The seed in its name, 0 without one."""
        return int(self.folder.name.rpartition("-s")[2]) if _SEED.search(self.folder.name) else 0

    def table(self) -> ScoreTable:
        """Its scores.

        Raises:
            RunError: there are none.
        """
        folder = RunFolder(self.folder)
        if self.branch is not None and not folder.scores(branch=self.branch).exists():
            known = [
                file.stem.partition("-scores-")[2]
                for file in self.folder.glob("evaluation/test-scores-*.csv")
            ]
            if not known:
                raise RunError(f"{self.folder} has one branch only; give it without :{self.branch}")
            raise RunError(f"{self.folder}: {unknown_name('branch', self.branch, known)}")
        return ScoreTable.read_csv(folder.scores(branch=self.branch))


def _check_row(row: str, folders: Sequence[Path]) -> None:
    """Refuse runs of one row that differ in more than their seed and, with it, their teacher."""
    first, *others = (_without_seed(read_recipe(RunFolder(folder))) for folder in folders)
    for folder, recipe in zip(folders[1:], others, strict=True):
        changed = [name for name in Recipe.model_fields if getattr(recipe, name) != getattr(first, name)]
        if changed:
            raise RunError(
                f"{folders[0]} and {folder} are both called {row!r} but differ in {', '.join(changed)}; "
                "only runs that differ in the seed are averaged, so rename one"
            )


def _without_seed(recipe: Recipe) -> Recipe:
    members = recipe.teacher.members
    if members is not None:
        members = [member.model_copy(update={"path": None}) for member in members]
    teacher = recipe.teacher.model_copy(update={"path": None, "members": members})
    return recipe.model_copy(update={"seed": 0, "teacher": teacher})


def write_study(recipe: Recipe, runs: Sequence[PlannedRun], out: Path) -> tuple[Comparison, Path]:
    """Compare all rows of a study; write `table.md`, `table.csv`, `comparison.json` and `report.html`.

    Raises:
        RunError: a run is missing or was scored on other cases.
    """
    assert recipe.study is not None
    rows: dict[str, list[Path]] = {row: [] for row in recipe.study.rows}
    for run in runs:
        rows[run.row].append(run.folder)
    comparison = compare_runs(rows, baseline=recipe.study.baseline, metrics=TABLE_METRICS)
    write_text(out / "table.md", comparison.to_markdown())
    write_text(out / "table.csv", comparison.to_csv())
    write_json(out / "comparison.json", comparison.to_dict())
    page = write_comparison(
        recipe.name,
        comparison,
        out / "report.html",
        runs=[_compared(run) for run in runs],
        command=command_line(),
        config=recipe_to_yaml(recipe),
    )
    return comparison, page


def _compared(run: PlannedRun) -> ComparedRun:
    folder = RunFolder(run.folder)
    return ComparedRun(
        row=run.row,
        seed=run.seed,
        folder=run.folder,
        seconds=float(folder.read_state().get("seconds", 0.0)),
        parameters=int(read_json(folder.model)["parameters"]),
    )
