"""The report reads what the evaluation writes: the same files, made by the real writers."""

import numpy as np
import pytest
import torch

from meddistill.evaluation import Gallery, ReliabilityBins, ScoreTable, compare_runs, summarise
from meddistill.files import write_json
from meddistill.report import write_comparison, write_report
from tests.report.builders import build_run, score_rows
from tests.report.markup import check_accessible_and_alone


def score_table(shift=0.0):
    rows = score_rows(20, "first")
    for row in rows:
        for name in ("dice", "iou", "precision", "recall", "hd95", "asd"):
            row[name] = float("nan") if row[name] is None else row[name]
        row["dice"] *= 1 - shift
    return ScoreTable.from_rows(rows)


@pytest.fixture
def run(tmp_path):
    run = build_run(tmp_path / "r", cases=9)
    bins = ReliabilityBins()
    bins.update(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    table = score_table()
    table.write_csv(run.scores())
    write_json(run.summary(), summarise(table, bins, resamples=50))
    maps = np.zeros((1, 16, 16), np.int16)
    pixels = np.zeros((1, 1, 16, 16), np.uint8)
    Gallery(np.array(["first"]), np.array(["worst"]), pixels, maps, maps, pixels[0], np.array([0.5])).save(
        run.gallery()
    )
    return run


def test_the_page_shows_what_the_evaluation_wrote(run):
    page = check_accessible_and_alone(write_report(run).read_text(encoding="utf-8"))
    assert not page.all("li", **{"class": "missing"})
    labels = [svg.attributes["aria-label"] for svg in page.all("svg", **{"class": "drawing"})]
    assert (
        "Student, test split: ECE over all pixels 0.4500; over-confident by 0.350 on average, 2 pixels."
        in labels
    )
    assert (
        len([row for row in page.all("th", scope="row") if "case (" in row.text or row.text == "first"]) == 20
    )
    assert "Dice (both empty = 1)" in [row.text for row in page.all("th", scope="row")]
    assert len(page.all("article")) == 1


def test_the_comparison_page_shows_what_was_compared(tmp_path):
    comparison = compare_runs({"iid": score_table(0.1), "kd": score_table()}, baseline="iid", resamples=50)
    source = write_comparison("c", comparison, tmp_path / "c.html").read_text(encoding="utf-8")
    page = check_accessible_and_alone(source)
    assert page.all("li")[0].text.startswith("kd: better than iid in Dice (+0.0")
