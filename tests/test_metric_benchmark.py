"""The benchmark of the metrics on tiny masks: what it compares is the same, and the page shows the times."""

from __future__ import annotations

import json
from importlib import util

import numpy as np
import pytest
import torch
from PIL import Image

import metric_speed
import metric_task
from metric_speed import Settings
from metric_task import Task

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:monai")

TINY = Settings(cases=2, size=40, side=20, classes=(2, 3), rounds=2)


@pytest.fixture(scope="module")
def found():
    return json.loads(json.dumps(metric_speed.measure(TINY)))


def test_every_way_is_timed_in_every_round_of_every_task(found):
    peers = ["MONAI", "medpy"] if util.find_spec("medpy") else ["MONAI"]
    for kind, names, count in (("surfaces", peers, 3), ("overlaps", ["numpy loop", "released loop"], 6)):
        assert len(found[kind]) == count
        for case in found[kind]:
            assert list(case["parity"]) == names
            assert all(case["parity"][name] <= metric_speed.TOLERANCE[name] for name in names)
            assert len(case["seconds"]) == 2
            for seconds in case["seconds"]:
                assert set(seconds) == {"meddistill", *names}
                assert all(value > 0 for value in seconds.values())


def test_the_page_has_a_row_for_each_task_and_peer(found):
    keys = ("processor", "platform", "python", "command")
    hardware = dict.fromkeys(keys, "x") | {"cores": 2, "threads": 1, "versions": {"torch": torch.__version__}}
    page = metric_speed.markdown_page(found, hardware)
    for kind in metric_speed.TITLES:
        for row in metric_speed.rows(found, kind):
            assert f"| {' | '.join(row)} |" in page
            assert row[-1] in metric_speed.text_table(found)


def test_ratios_are_formed_within_a_round():
    case = {"seconds": [{"meddistill": 1.0, "MONAI": 4.0}, {"meddistill": 10.0, "MONAI": 80.0}]}
    assert metric_speed.speedup(case, "MONAI").median == 6


def test_other_scores_are_refused():
    rng = np.random.default_rng(0)
    task = Task.of("lesions", metric_task.lesions(2, 40, 2, rng), 2, 1.0, rng)
    ways = metric_speed.overlap_ways() | {"meddistill": lambda task: metric_task.overlaps_loop(task) + 0.01}
    with pytest.raises(ValueError, match="numpy loop has other scores of lesions"):
        metric_speed.check_parity(task, ways)


def test_both_loops_score_missed_and_invented_structures_alike():
    label = np.zeros((3, 8, 8), np.int64)
    label[0, :4] = label[2, :2] = 1
    prediction = np.roll(label, 1, axis=0)
    task = Task("x", *map(torch.from_numpy, (prediction, label)), 2)
    shared, released = metric_task.overlaps_loop(task), metric_task.overlaps_released(task.in_bytes())
    np.testing.assert_allclose(released, shared, atol=1e-12)
    assert shared[:, 0, 2].tolist() == [1.0, 0.0, 1.0]


def test_a_bad_prediction_is_farther_off():
    rng = np.random.default_rng(1)
    label = metric_task.organ(24, rng)
    good, bad = (metric_task.surfaces_meddistill(Task.of("x", label, 3, off, rng)) for off in (0.4, 2.5))
    assert good[0, 0, 1] < bad[0, 0, 1]


def test_real_masks_are_read_at_the_size_asked_for_and_empty_ones_left_out(tmp_path):
    for index, filled in enumerate([True, False, True, True]):
        mask = np.zeros((30, 50), np.uint8)
        mask[5:20, 10:30] = 255 * filled
        Image.fromarray(mask).save(tmp_path / f"{index}_mask.png")
    label = metric_task.masks_of_files(tmp_path, 2, 40)
    assert label.shape == (2, 40, 40)
    assert label.mean() == pytest.approx(15 * 20 / (30 * 50), rel=0.1)
