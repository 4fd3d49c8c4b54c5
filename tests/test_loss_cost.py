"""The benchmark of the losses on tiny sizes: what it returns, and that its losses are what it says."""

from __future__ import annotations

import json

import pytest
import torch

from loss_cost import Settings, check_parity, measure, parse, settings_from
from loss_tables import COLUMNS, markdown_page, share, spread, text_table
from loss_task import STUDENTS, Task, blobs
from step_task import Network

TINY = Settings(
    sizes=((2, 16, 16), (1, 16, 16, 16)),
    classes=(2, 3),
    rounds=2,
    repeats=1,
    students={
        2: Network("pcd/unet", {"width": 2}),
        3: Network("monai/unet", {"channels": [2, 4], "strides": [2]}),
    },
)


@pytest.fixture(scope="module")
def result():
    return json.loads(json.dumps(measure(TINY)))


def test_every_work_is_timed_in_every_round_of_every_case(result):
    assert [(case["size"], case["classes"]) for case in result["cases"]] == [
        ([2, 16, 16], 2),
        ([2, 16, 16], 3),
        ([1, 16, 16, 16], 2),
        ([1, 16, 16, 16], 3),
    ]
    for case in result["cases"]:
        assert len(case["seconds"]) == 2
        for seconds in case["seconds"]:
            assert set(seconds) == {"step", *COLUMNS}
            assert all(value > 0 for value in seconds.values())


def test_the_losses_agree_with_their_formulas(result):
    for case in result["cases"]:
        assert set(case["parity"]) == {"supervised", "kd", "pcd"}
        assert max(case["parity"].values()) < 1e-5


def test_another_loss_is_refused():
    task = Task((2, 16, 16), 2, TINY.students, seed=0)
    task.methods["kd"] = task.methods["supervised"]
    with pytest.raises(ValueError, match="kd computes another loss than its formula"):
        check_parity(task)


def test_both_masks_have_work_to_do():
    for classes in (2, 14):
        task = Task((2, 32, 32), classes, TINY.students, seed=0)
        logits = task.student(task.batch["image"])
        whole, masked = (task.of(name)(logits).item() for name in ("kd", "pcd"))
        assert 0.5 < task.threshold < 1
        assert 0 < masked < whole


def test_a_step_with_the_published_network_trains_it_as_a_plain_loop_would():
    task, plain = (Task((2, 16, 16), 2, STUDENTS, seed=0) for _ in range(2))
    assert all(seconds > 0 for seconds in task.step(task.of("kd")))
    plain.plain_kd(plain.student(plain.batch["image"])).backward()
    plain.optimizer.step()
    for ours, theirs in zip(task.student.parameters(), plain.student.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("size", "classes"), [((2, 24, 20), 2), ((1, 16, 16, 16), 5)])
def test_blobs_hold_every_class_equally_often(size, classes):
    counts = blobs(size, classes).unique(return_counts=True)[1]
    assert len(counts) == classes
    assert counts.max() - counts.min() <= 1


def test_shares_are_formed_within_rounds():
    rounds = [{"supervised/plain": 0.0, "kd/method": slow, "step": 10 * slow} for slow in (1.0, 5.0, 2.0)]
    assert share({"seconds": rounds}, "kd/method") == (10.0, 10.0, 10.0)
    assert spread(rounds, lambda seconds: seconds["step"]).median == 20.0


def test_page_and_table_hold_the_numbers_of_the_json(result):
    page, table = markdown_page(result), text_table(result)
    for case in result["cases"]:
        added = share(case, "pcd/method")
        assert f"{added.median:.2f} ({added.quarter:.2f}–{added.three_quarters:.2f})" in page
        assert f"({added.median:+5.2f})" in table
    assert "monai/unet (channels=[2, 4], strides=[2])" in page
    assert result["hardware"]["versions"]["torch"] in page


def test_command_line_names_sizes_and_classes():
    given = settings_from(parse(["--sizes", "8x32x32", "2x16x16x16", "--classes", "3", "--rounds", "4"]))
    assert given.sizes == ((8, 32, 32), (2, 16, 16, 16))
    assert (given.classes, given.rounds, given.repeats) == ((3,), 4, Settings().repeats)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--rounds", "1"], "must be 2 or more"), (["--sizes", "8x32"], "8x32 is no batch")],
)
def test_impossible_arguments_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        parse(arguments)
    assert message in capsys.readouterr().err
