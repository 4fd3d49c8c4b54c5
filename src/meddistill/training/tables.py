"""From finished run folders to the comparison table and page of a study."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from meddistill.config import Recipe, recipe_to_yaml
from meddistill.errors import RunError
from meddistill.evaluation import Comparison, compare_runs
from meddistill.files import write_json, write_text
from meddistill.report import ComparedRun, write_comparison
from meddistill.training.hardware import command_line
from meddistill.training.run_folder import RunFolder, read_json
from meddistill.training.study import PlannedRun

_SEED = re.compile(r"-s\d+$")


TABLE_METRICS = ("dice", "dice_both_empty_1", "iou", "hd95", "ece")
"""What a study's table shows; `dice_both_empty_1` also rewards leaving an image without lesion empty."""


def compare_folders(folders: Sequence[Path], *, metrics: Sequence[str] = TABLE_METRICS) -> Comparison:
    """Compare run folders on their test scores; the first folder's row is the baseline.

    Folders called `ROW-sSEED` are seeds of one row.

    Raises:
        RunError: fewer than two rows, a folder that is no run or has no test scores, or runs scored on
            different cases.
    """
    rows: dict[str, list[Path]] = {}
    for folder in folders:
        if not RunFolder(folder).config.is_file():
            raise RunError(f"{folder} is not a run folder: config.yaml is missing")
        rows.setdefault(_SEED.sub("", folder.resolve().name), []).append(folder)
    if len(rows) < 2:
        raise RunError("compare needs the runs of at least two rows, for example runs/iid-s0 runs/kd-s0")
    return compare_runs(rows, baseline=next(iter(rows)), metrics=metrics)


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
