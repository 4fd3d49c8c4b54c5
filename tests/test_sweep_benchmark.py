"""The benchmarks of the corruption sweep on a tiny set: same scores, and pages that show the numbers."""

from __future__ import annotations

import os

import numpy as np
import pytest

import sweep_memory
import sweep_speed
from sweep_speed import Settings
from sweep_task import make_images
from tests.data.builders import busi_tree
from tests.evaluation.tables import table

HARDWARE = dict.fromkeys(("processor", "platform", "python", "command"), "x") | {
    "cores": 2,
    "threads": 1,
    "versions": {"torch": "2"},
}
TINY = Settings(
    cases=3, pixels=32, size=32, width=2, runs=2, rounds=1, kinds=("speckle", "jpeg"), severities=(1, 4)
)


@pytest.fixture(scope="module")
def found():
    return sweep_speed.measure(TINY)


def test_loop_and_sweep_give_the_same_scores(found):
    assert found["largest_difference"] < 1e-4
    [row] = found["rounds"]
    assert found["ratio"] == pytest.approx(row["loop"] / row["sweep"])


def test_other_scores_are_noticed():
    one, other = ({("a", "fog", 1): table((0.5, dice))} for dice in (0.4, 0.41))
    assert sweep_speed.check_same(one, one) == 0
    with pytest.raises(AssertionError):
        sweep_speed.check_same(one, other)


def test_the_page_has_a_row_for_each_number(found):
    page = sweep_speed.markdown_page(found, HARDWARE)
    for name, text in sweep_speed.rows(found):
        assert f"| {name} | {text} |" in page
        assert text in sweep_speed.text_table(found)
    assert "2 kinds, 2 severities, 2 runs, 3 test images (phantoms)" in page


def test_a_folder_of_images_is_copied_with_its_masks(tmp_path):
    root = busi_tree(tmp_path / "data", per_class=4)
    copied = make_images(tmp_path / "images", 2, size=0, images=str(root))
    names = sorted(path.name for path in copied.rglob("*.png"))
    assert len(names) == 8
    assert sum(name.endswith("_mask.png") for name in names) == 4


def test_memory_is_that_of_the_process_and_of_what_it_starts():
    assert sweep_memory._private(os.getpid()) > 2**20
    assert sweep_memory.children(os.getpid()) == [] or np.all(sweep_memory.children(os.getpid()))
    with pytest.raises(RuntimeError, match="No such command"):
        sweep_memory.peak(["nothing"])


def test_the_memory_page_has_a_row_for_each_number_of_images():
    rows = [
        {"cases": cases, "sweep": {"own": cases * 2**20, "worker": 3 * 2**20}, "evaluate": {"own": 2**20}}
        for cases in (16, 128)
    ]
    page = sweep_memory.page(sweep_memory.Settings(), rows, HARDWARE)
    assert "| 16 | 16 | 3 | 1 |" in page
    assert "| 128 | 128 | 3 | 1 |" in page
