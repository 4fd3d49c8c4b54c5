"""From finished run folders to the comparison table and page of a study."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from meddistill.config import Recipe, recipe_to_yaml
from meddistill.config.attacks import attacked_sets
from meddistill.data.case import SPLITS
from meddistill.errors import RunError, unknown_name
from meddistill.evaluation import AnswerTable, Comparison, ScoreTable, compare_answers, compare_runs
from meddistill.evaluation.answer_comparison import ANSWER_METRICS
from meddistill.evaluation.answers import is_answer_table
from meddistill.evaluation.margin import check_margin
from meddistill.files import write_json
from meddistill.report import ComparedRun, write_comparison
from meddistill.training.attacks import check_same_attacks
from meddistill.training.evaluate import read_recipe
from meddistill.training.hardware import command_line
from meddistill.training.inference_time import inference_times
from meddistill.training.run_folder import RunFolder, read_json
from meddistill.training.study import PlannedRun, shared_sets
from meddistill.training.study_details import study_details
from meddistill.training.table_files import in_folder, write_table

_SEED = re.compile(r"-s\d+$")


TABLE_METRICS = ("dice", "dice_both_empty_1", "iou", "hd95", "ece")
"""What a study's table shows; `dice_both_empty_1` also rewards leaving an image without lesion empty."""


def compare_folders(
    folders: Sequence[Path | str],
    *,
    metrics: Sequence[str] | None = None,
    split: str | None = None,
    margin: float | None = None,
) -> Comparison:
    """Compare run folders on their scores; the first folder's row is the baseline.

    Folders called `ROW-sSEED` are seeds of one row; rows are paired seed by seed. `FOLDER:BRANCH` means
    another branch of a student that has several, as a row of its own.

    Args:
        folders: of the runs.
        metrics: what to compare; None for `TABLE_METRICS`, or `ANSWER_METRICS` of runs that answer once per
            image.
        split: the split or further test set; None for the first that all runs are scored on after training,
            which is the test split where they have one.
        margin: also say whether each row is not worse than the first by more than this in the first metric.

    Raises:
        ConfigError: an unknown metric, or a margin that is not above 0.
        RunError: fewer than two rows, a folder that is given twice, is no run or has no such scores (of that
            branch), runs of one row that differ in more than the seed, or runs scored on different cases.
        ConfigError: an unknown metric, or runs that were attacked in different ways.
    """
    if margin is not None:
        check_margin(margin)
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
        _check_row(name, row)
    runs = [run for row in rows.values() for run in row]
    chosen = split or _first_shared([run.folder for run in runs])
    check_same_attacks(((str(run.folder), run.recipe) for run in runs), chosen)
    tables = {name: [run.table(chosen) for run in row] for name, row in rows.items()}
    return compare_tables(tables, baseline=next(iter(rows)), metrics=metrics, margin=margin)


def row_of(folder: Path) -> str:
    """Name of the row that a run folder is a seed of.

    Example:
        >>> row_of(Path("runs/kd-s2")), row_of(Path("runs/kd"))
        ('kd', 'kd')
    """
    return _SEED.sub("", folder.name)


def compare_tables(
    rows: Mapping[str, Sequence[ScoreTable | AnswerTable]],
    *,
    baseline: str,
    metrics: Sequence[str] | None = None,
    margin: float | None = None,
) -> Comparison:
    """Compare rows of scores of maps, or rows of answers about whole images.

    With a `margin`, also say whether each row is not worse than the baseline by more than this in the first
    metric.

    Raises:
        RunError: the rows were scored on different cases, or some on maps and some on whole images.
        ConfigError: an unknown metric, or a margin that is not above 0.
    """
    found = _compared_tables(rows, baseline, metrics)
    return found if margin is None else found.with_margin(margin)


def _compared_tables(
    rows: Mapping[str, Sequence[ScoreTable | AnswerTable]], baseline: str, metrics: Sequence[str] | None
) -> Comparison:
    answers = {
        name: [table for table in tables if isinstance(table, AnswerTable)] for name, tables in rows.items()
    }
    scores = {
        name: [table for table in tables if isinstance(table, ScoreTable)] for name, tables in rows.items()
    }
    if not any(answers.values()):
        return compare_runs(scores, baseline=baseline, metrics=metrics or TABLE_METRICS)
    if any(scores.values()):
        mixed = [next(name for name, tables in kind.items() if tables) for kind in (scores, answers)]
        raise RunError(
            f"row {mixed[0]} was scored on maps and row {mixed[1]} on whole images; compare runs of one task"
        )
    return compare_answers(answers, baseline=baseline, metrics=metrics or ANSWER_METRICS)


def read_table(path: Path) -> ScoreTable | AnswerTable:
    """The scores of maps, or the answers about whole images, in a CSV.

    Raises:
        RunError: the file is missing or holds something else.
    """
    return AnswerTable.read_csv(path) if is_answer_table(path) else ScoreTable.read_csv(path)


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
        name = row_of(self.folder)
        return name if self.branch is None else f"{name}:{self.branch}"

    @property
    def seed(self) -> int:
        """The seed in its name, 0 without one."""
        return int(self.folder.name.rpartition("-s")[2]) if _SEED.search(self.folder.name) else 0

    @cached_property
    def recipe(self) -> Recipe:
        """Its resolved recipe."""
        return read_recipe(RunFolder(self.folder))

    def table(self, split: str) -> ScoreTable | AnswerTable:
        """Its scores on a split or further test set.

        Raises:
            RunError: there are none.
        """
        folder = RunFolder(self.folder)
        names = [*SPLITS, *self.recipe.tests, *attacked_sets(self.recipe.attacks)]
        if split not in names:
            raise RunError(f"{self.folder}: {unknown_name('split', split, names)}")
        if not folder.scores(split).exists():
            raise RunError(
                f"{self.folder} has no scores on {split}; get them by `meddistill evaluate {self.folder} "
                f"--split {split}`"
            )
        if self.branch is not None and not folder.scores(split, self.branch).exists():
            known = [
                file.stem.partition("-scores-")[2]
                for file in self.folder.glob(f"evaluation/{split}-scores-*.csv")
            ]
            if not known:
                raise RunError(f"{self.folder} has one branch only; give it without :{self.branch}")
            raise RunError(f"{self.folder}: {unknown_name('branch', self.branch, known)}")
        return read_table(folder.scores(split, self.branch))


def _check_row(row: str, runs: Sequence[_Scored]) -> None:
    """Refuse runs of one row that differ in more than their seed and, with it, their teacher and start."""
    first, *others = (_without_seed(run.recipe) for run in runs)
    for run, recipe in zip(runs[1:], others, strict=True):
        changed = [name for name in Recipe.model_fields if getattr(recipe, name) != getattr(first, name)]
        if changed:
            raise RunError(
                f"{runs[0].folder} and {run.folder} are both called {row!r} but differ in "
                f"{', '.join(changed)}; only runs that differ in the seed are averaged, so rename one"
            )


def _without_seed(recipe: Recipe) -> Recipe:
    members = recipe.teacher.members
    if members is not None:
        members = [member.model_copy(update={"path": None}) for member in members]
    teacher = recipe.teacher.model_copy(update={"path": None, "members": members})
    start = recipe.fine_tune and recipe.fine_tune.model_copy(update={"path": None})
    return recipe.model_copy(update={"seed": 0, "teacher": teacher, "fine_tune": start})


def _first_shared(folders: Sequence[Path]) -> str:
    """The first set that all runs are scored on after training; `test` where there is none."""
    return next(iter(shared_sets([RunFolder(folder).scored_cases() for folder in folders])), "test")


def write_study(recipe: Recipe, runs: Sequence[PlannedRun], out: Path) -> tuple[dict[str, Comparison], Path]:
    """Compare all rows of a study on every set that they are all scored on.

    The first set (the test split, where all rows have the same one) fills `table.md`, `.csv` and `.tex` and
    `comparison.json`, each further one `table-NAME.md` and so on; `report.html` shows all.

    Returns:
        The comparison of each set, and the page.

    Raises:
        RunError: a run is missing, or the rows were scored on different cases.
    """
    assert recipe.study is not None
    rows: dict[str, list[Path]] = {row: [] for row in recipe.study.rows}
    for run in runs:
        rows[run.row].append(run.folder)
    names = shared_sets([RunFolder(run.folder).scored_cases() for run in runs]) or ["test"]
    tables = {
        name: {
            row: [read_table(RunFolder(folder).scores(name)) for folder in folders]
            for row, folders in rows.items()
        }
        for name in names
    }
    comparisons = {
        name: compare_tables(found, baseline=recipe.study.baseline, margin=recipe.study.margin)
        for name, found in tables.items()
    }
    for name, comparison in comparisons.items():
        suffix = "" if name == names[0] else f"-{name}"
        for file in in_folder(out, f"table{suffix}"):
            write_table(comparison, file)
        write_json(out / f"comparison{suffix}.json", comparison.to_dict())
    inference = inference_times(runs)
    page = write_comparison(
        recipe.name,
        comparisons[names[0]],
        out / "report.html",
        name=names[0],
        others={name: comparisons[name] for name in names[1:]},
        runs=[_compared(run, inference[run.folder]) for run in runs],
        details=study_details(runs, comparisons[names[0]], tables[names[0]], names[0]),
        command=command_line(),
        config=recipe_to_yaml(recipe),
    )
    return comparisons, page


def _compared(run: PlannedRun, inference: float) -> ComparedRun:
    folder = RunFolder(run.folder)
    model = read_json(folder.model)
    return ComparedRun(
        row=run.row,
        seed=run.seed,
        folder=run.folder,
        seconds=folder.read_state().get("seconds"),
        parameters=model["parameters"],
        macs=model.get("macs"),
        inference=inference,
    )
