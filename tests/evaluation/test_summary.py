import json
import math

import pytest

from meddistill.evaluation import METRICS, ReliabilityBins, ScoreTable, mean_ci, summarise

from .tables import row, table


def mixed():
    return ScoreTable.from_rows(
        [
            row("a", 0.8, group="p", pixels=100, nll=0.1),
            row("b", 0.6, group="p", pixels=300, nll=0.5),
            row("c", state="missed", group="q"),
            row("d", state="both_empty", group="q"),
            row("e", state="false_alarm", group="r"),
            row("f", 0.7, group="s", hd95=4.0),
        ]
    )


def test_means_counts_and_policies():
    summary = summarise(mixed())
    assert summary["counts"] == {
        "cases": 6,
        "groups": 4,
        "ok": 3,
        "both_empty": 1,
        "missed": 1,
        "false_alarm": 1,
    }
    metrics = summary["metrics"]
    assert metrics["dice"]["mean"] == pytest.approx(2.1 / 5)
    assert metrics["dice"]["n"] == 5
    assert metrics["dice_both_empty_1"]["mean"] == pytest.approx(3.1 / 6)
    assert metrics["hd95"]["mean"] == pytest.approx((2 + 2 + 100 + 100 + 4) / 5)
    assert metrics["hd95_detected"]["mean"] == pytest.approx(8 / 3)
    assert metrics["hd95_detected"]["n"] == 3
    assert list(metrics) == [name for name in METRICS if name not in ("ravd", "avd")]
    assert summary["unit"] == "px"


def test_scores_from_before_nsd_have_none():
    old = [row(f"c{index}", 0.5, nsd=math.nan) for index in range(3)]
    metrics = summarise(ScoreTable.from_rows(old))["metrics"]
    assert "nsd" not in metrics
    assert metrics["asd"]["n"] == 3


def test_intervals_resample_groups():
    summary = summarise(mixed(), seed=3, resamples=500)
    groups = ["p", "p", "q", "r", "s"]
    low, high = mean_ci([0.8, 0.6, 0, 0, 0.7], groups=groups, seed=3, resamples=500, bounds=(0, 1))
    assert (summary["metrics"]["dice"]["low"], summary["metrics"]["dice"]["high"]) == (low, high)
    assert summary == summarise(mixed(), seed=3, resamples=500)
    scores = table([0.1, 0.23, 0.37, 0.41, 0.59])
    first, second = (summarise(scores, seed=seed)["metrics"]["dice"] for seed in (3, 4))
    assert first["mean"] == second["mean"]
    assert first["low"] != second["low"]


def test_classes_are_summarised_apart_and_cases_average_them():
    rows = [
        row("a", 0.9, label="kidney"),
        row("a", 0.5, label="tumour"),
        row("b", 0.7, label="kidney"),
        row("b", state="both_empty", label="tumour"),
    ]
    summary = summarise(ScoreTable.from_rows(rows))
    assert summary["metrics"]["dice"]["mean"] == pytest.approx(0.7)
    assert summary["classes"]["kidney"]["metrics"]["dice"]["mean"] == pytest.approx(0.8)
    assert summary["classes"]["tumour"]["metrics"]["dice"] == {"mean": 0.5, "low": None, "high": None, "n": 1}
    assert summary["classes"]["tumour"]["counts"]["both_empty"] == 1


def test_dataset_calibration_counts_every_pixel_once():
    import torch

    bins = ReliabilityBins()
    bins.update(torch.tensor([[0.2, 0.4], [0.8, 0.6]]), torch.tensor([1, 1]))
    rows = [
        row("a", pixels=100, nll=0.1),
        row("a", pixels=100, nll=0.1, label="tumour"),
        row("b", pixels=300, nll=0.5),
        row("b", pixels=300, nll=0.5, label="tumour"),
        row("c", pixels=0, nll=math.nan),
        row("c", pixels=0, nll=math.nan, label="tumour"),
    ]
    summary = summarise(ScoreTable.from_rows(rows), bins)
    assert summary["dataset"]["nll"] == pytest.approx(0.4)
    assert summary["dataset"]["ece"] == pytest.approx(bins.ece())
    assert summary["reliability"] == bins.to_dict()
    assert summary["metrics"]["nll"]["mean"] == pytest.approx(0.3)


@pytest.mark.parametrize("scores", [table([]), table([0.5]), table([0.5, 0.7], state="both_empty"), mixed()])
def test_every_summary_fits_strict_json(scores):
    summary = summarise(scores, ReliabilityBins())
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["dataset"]["ece"] is None


def test_infinite_distances_do_not_reach_the_summary():
    summary = summarise(ScoreTable.from_rows([row("a", hd95=math.inf), row("b")]))
    assert summary["metrics"]["hd95"]["mean"] is None
    assert summary["metrics"]["dice"]["mean"] == 0.5
