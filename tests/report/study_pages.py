"""Pages of made-up studies with every part, for the tests beside this file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from meddistill.evaluation import ScoreTable, compare_runs
from meddistill.evaluation.case_scores import case_scores
from meddistill.evaluation.disputes import disputes
from meddistill.evaluation.ranks import rank_rows
from meddistill.evaluation.subgroups import subgroups
from meddistill.files import write_json
from meddistill.report import ComparedRun, write_comparison
from meddistill.report.details import Details
from meddistill.report.dispute_parts import DisputedMaps, DisputeParts, dispute_table, dispute_views
from meddistill.training.run_folder import RunFolder
from meddistill.training.table_files import in_folder, write_table
from tests.evaluation.tables import row

ROWS = ("student", "teacher", "kd")
METRIC = "dice_both_empty_1"
CASES = 24


def tables(rows: Sequence[str] = ROWS, first_case: str = "case 0") -> dict[str, list[ScoreTable]]:
    """Two seeds of every row: the later the row the better; every third case is malignant and harder."""
    rng = np.random.default_rng(0)
    base = np.where(np.arange(CASES) % 3 == 0, 0.55, 0.75) + rng.normal(size=CASES) / 25
    names = [first_case, *(f"case {number}" for number in range(1, CASES))]

    def scored(gain: float) -> ScoreTable:
        return ScoreTable.from_rows(
            row(
                name,
                float(np.clip(base[number] + gain + rng.normal() / 40, 0, 1)),
                stratum="malignant" if number % 3 == 0 else "benign",
                label_pixels=50 + 30 * number,
            )
            for number, name in enumerate(names)
        )

    return {name: [scored(0.05 * place) for _ in range(2)] for place, name in enumerate(rows)}


def details(found: dict[str, list[ScoreTable]]) -> Details:
    """Ranks, subgroups and three disputed cases with pictures."""
    rows = list(found)
    scores = case_scores(found, METRIC)
    chosen = disputes(scores, 3)
    y, x = np.mgrid[:24, :24]
    label = (np.hypot(y - 12, x - 12) < 6).astype(np.int16)
    image = np.random.default_rng(1).integers(0, 255, (1, 24, 24), dtype=np.uint8)
    predictions = {name: np.roll(label, place, axis=1) for place, name in enumerate(rows)}
    maps = {one.case: DisputedMaps(image, label, predictions) for one in chosen}
    ranked = [rank_rows(case_scores(found, name), rows[0]) for name in ("dice", "hd95")]
    return Details(
        ranks=[one for one in ranked if one is not None],
        subgroups=subgroups(found, scores, resamples=50),
        subgroup_metric=METRIC,
        disputes=DisputeParts(
            METRIC, dispute_table(chosen, rows, METRIC), dispute_views(chosen, rows, METRIC, maps)
        ),
    )


def study_page(folder: Path, rows: Sequence[str] = ROWS, first_case: str = "case 0") -> Path:
    """Write the page and the files beside it; the second row is four times as large, the last has no MACs."""
    found = tables(rows, first_case)
    comparison = compare_runs(found, baseline=rows[0], metrics=["dice", "hd95"], resamples=50)
    for file in in_folder(folder):
        write_table(comparison, file)
    runs = []
    for place, name in enumerate(rows):
        for seed in range(2):
            run = folder / "runs" / f"row{place}-s{seed}"
            facts = {"python": "3.11.7", "data_fingerprint": "abc", "versions": {"torch": f"2.{place}"}}
            write_json(RunFolder(run).environment, facts | {"split_counts": {"train": 60, "test": CASES}})
            size = 4 if place == 1 else 1
            macs = None if place == len(rows) - 1 else 9_800_000 * size
            runs.append(
                ComparedRun(name, seed, run, 60.0 + 30 * place + seed, 31_000 * size, macs, 0.0021 * size)
            )
    return write_comparison(
        "A study",
        comparison,
        folder / "report.html",
        runs=runs,
        details=details(found),
        command="meddistill study demo",
        config="name: demo\n",
    )
