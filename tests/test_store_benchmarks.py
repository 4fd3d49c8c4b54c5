"""The benchmarks of stored logits and of memory on tiny sizes: what they return, of the same work."""

from __future__ import annotations

import os

import pytest
import torch

import ensemble_epoch
import ensemble_task
import epoch
import memory
import store_step
from meddistill.teachers import Teacher
from step_tables import STORED_COMPARISONS, columns_text
from step_task import Network, Settings, Task

TINY = Settings(
    student=Network("pcd/unet", {"width": 2}),
    teacher=Network("pcd/unet", {"width": 4}),
    size=32,
    batch=4,
    steps=2,
    rounds=2,
)


@pytest.fixture(scope="module")
def found():
    return {"tiny": store_step.measure(TINY)}


def test_steps_from_the_store_compute_the_loss_of_the_live_teacher(found):
    parity = found["tiny"]["parity"]
    assert parity["kd/stored"]["relative_difference"] < 1e-3
    assert parity["kd/stored"]["first_loss"] != parity["supervised/plain"]["first_loss"]
    assert parity["kd/stored shell"]["first_loss"] == parity["kd/stored"]["first_loss"]


def test_the_page_has_a_column_for_each_size_and_a_row_for_each_comparison(found):
    page = store_step.markdown_page(found, found_hardware())
    for rows in STORED_COMPARISONS.values():
        assert all(f"| {what} | " in page for what, _, _ in rows)
    assert "| | tiny |" in page
    assert "1.000" in columns_text({"tiny": {"ratios": [ratio(1.0)]}}, "step time")


def ratio(value):
    return dict.fromkeys(("median", "quarter", "three_quarters"), value) | {"group": "g", "what": "w"}


def found_hardware():
    keys = ("processor", "platform", "python", "command")
    return {**dict.fromkeys(keys, "x"), "cores": 2, "threads": 1, "versions": {"torch": torch.__version__}}


@pytest.mark.parametrize("name", store_step.CASES)
def test_each_size_has_a_teacher_eight_times_as_large(name):
    settings = store_step.CASES[name]
    networks = (getattr(settings, who).spec(settings.dims).build() for who in ("student", "teacher"))
    student, teacher = (sum(weights.numel() for weights in network.parameters()) for network in networks)
    assert teacher >= 8 * student


@pytest.mark.parametrize("augment", ["none", "light"])
def test_peers_and_meddistill_see_the_same_images(augment):
    task = Task(Settings(**{**vars(TINY), "augment": augment}))
    for (image, label), batch in zip(task.tutorial_loader(), task.loader(stored=True), strict=True):
        assert torch.equal(image, batch["image"])
        assert torch.equal(label, batch["label"])
        if augment == "none":
            live = Teacher(task.teacher)(image).softmax(1)
            assert (batch["teacher_logits"].softmax(1) - live).abs().max() < 3e-4


def test_volumes_can_be_timed():
    network = Network("monai/unet", {"channels": (2, 4), "strides": (2,), "num_res_units": 0})
    task = Task(Settings(student=network, teacher=network, size=32, dims=3, batch=2, steps=1))
    batch = next(iter(task.loader(stored=True)))
    assert batch["teacher_logits"].shape == (2, 2, 32, 32, 32)


def test_every_way_to_train_an_epoch_is_timed():
    result = epoch.measure(TINY)
    assert len(result["seconds"]) == 2
    for seconds in result["seconds"]:
        assert set(seconds) == {*epoch.epochs(), epoch.BEST}
        assert min(seconds.values()) > 0
        assert seconds[epoch.BEST] <= seconds["plain loop"]
    page = epoch.markdown_page(result, found_hardware())
    assert "best peer / stored" in page
    assert "best peer / stored" in epoch.text_table(result)


@pytest.mark.parametrize("task", ["classification", "multi_label", "segmentation"])
def test_an_epoch_from_four_teachers_is_timed(task):
    maps = task == "segmentation"
    network = Network("pcd/unet", {"width": 2}) if maps else Network("timm/test_resnet")
    settings = ensemble_task.Settings(
        task=task, student=network, teachers=(network,) * 4, classes=2 if maps else 3, size=32, images=8,
        batch=4, rounds=2,
    )  # fmt: skip
    found = {"tiny": ensemble_epoch.measure(settings)}
    named = {name for rows in ensemble_epoch.COMPARISONS.values() for _, *pair in rows for name in pair}
    for seconds in found["tiny"]["seconds"]:
        assert set(seconds) == named
        assert min(seconds.values()) > 0
    page = ensemble_epoch.markdown_page(found, found_hardware())
    assert all(f"| {what} | " in page for rows in ensemble_epoch.COMPARISONS.values() for what, _, _ in rows)


def test_the_memory_of_a_process_is_read_and_reported():
    sizes = memory.resident(os.getpid())
    assert sizes["VmRSS"] >= sizes["RssAnon"] > 2**20
    assert memory.resident(2**22 + 1) == {}
    peak = dict.fromkeys(memory.KINDS, 100 * 2**20)
    first = {"cases": 10, "training": peak, "whole": peak, "store_bytes": 820, "train_cases": 10}
    first |= {"store_bytes_on_disk": 2**20, "seconds": 5.0}
    grown = first | {"cases": 1034, "training": peak | {"RssAnon": 101 * 2**20}}
    table = memory.rows([first, grown])
    assert [row[5] for row in table] == ["", "1.0"]
    assert table[0][1:5] == ["100"] * 4
    assert "| 1034 | 100 | 101 |" in memory.page(memory.Settings(), [first, grown], found_hardware())


def test_a_case_takes_in_the_store_what_is_computed():
    task = Task(TINY)
    assert task.stored.store.nbytes == 12 * memory.bytes_per_case(memory.Settings(size=32))
