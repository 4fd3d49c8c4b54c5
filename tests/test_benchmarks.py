"""The benchmark's measuring on tiny sizes: what it returns and that all loops compute the same."""

from __future__ import annotations

import json
from importlib import util

import pytest

from step_loops import LOOPS
from step_tables import COMPARISONS, markdown_page, ratios, text_table
from step_task import Network, Settings, Task
from train_step import check_parity, measure, parse, run, settings_from

TINY = Settings(
    student=Network("pcd/unet", {"width": 2}),
    teacher=Network("pcd/unet", {"width": 4}),
    size=16,
    batch=4,
    steps=2,
    rounds=2,
)

TORCHDISTILL = util.find_spec("torchdistill") is not None
needs_torchdistill = pytest.mark.skipif(
    not TORCHDISTILL, reason="torchdistill is not installed (extra 'bench')"
)


@pytest.fixture(scope="module")
def result():
    return measure(TINY)


def test_every_loop_is_timed_in_every_round(result):
    expected = set(LOOPS) - (set() if TORCHDISTILL else {"kd/torchdistill"})
    assert len(result["seconds_per_step"]) == 2
    for seconds in result["seconds_per_step"]:
        assert set(seconds) == expected
        assert all(value > 0 for value in seconds.values())


def test_loops_of_the_same_work_train_alike(result):
    parity = result["parity"]
    for work in ("supervised", "kd", "pcd"):
        losses = [entry["losses"] for name, entry in parity.items() if name.startswith(work)]
        assert len(losses) >= 2
        for other in losses[1:]:
            assert other == pytest.approx(losses[0], rel=1e-3)
            assert other[0] == pytest.approx(losses[0][0], rel=1e-5)


@needs_torchdistill
def test_torchdistill_computes_the_loss_of_the_plain_loop(result):
    assert result["parity"]["kd/torchdistill"]["relative_difference"] < 1e-6


def test_absent_torchdistill_is_skipped_with_a_reason(monkeypatch):
    monkeypatch.setattr("train_step.torchdistill_version", lambda: None)
    monkeypatch.setattr("train_step.LOOPS", {name: LOOPS[name] for name in ("kd/plain", "kd/torchdistill")})
    found = measure(TINY)
    assert set(found["parity"]) == {"kd/plain"}
    assert "not installed" in found["skipped"]["kd/torchdistill"]
    assert "not installed" in text_table(found)


def test_paced_loop_masks_some_pixels(result):
    assert result["parity"]["pcd/method"]["first_loss"] < result["parity"]["kd/method"]["first_loss"]


def test_a_loop_starts_from_the_same_weights_each_time():
    task = Task(TINY)
    first, second = (run(LOOPS["kd/plain"], task).losses for _ in range(2))
    assert first == second
    assert len(first) == TINY.steps + 1


def test_different_maths_are_refused():
    with pytest.raises(ValueError, match="kd/shell computes another loss than kd/plain"):
        check_parity({"kd/plain": [1.0], "kd/shell": [1.0001]})


def test_ratios_are_formed_within_rounds():
    rounds = [{"kd/plain": slow, "kd/method": 2 * slow} for slow in (1.0, 5.0, 2.0)]
    (row,) = ratios(rounds)
    assert (row["low"], row["median"], row["high"]) == (2.0, 2.0, 2.0)


def test_comparisons_name_known_loops():
    named = {name for rows in COMPARISONS.values() for _, above, below in rows for name in (above, below)}
    assert named == set(LOOPS)


def test_page_and_table_hold_the_numbers_of_the_json(result):
    saved = json.loads(json.dumps(result))
    page, table = markdown_page(saved), text_table(saved)
    for row in saved["ratios"]:
        assert f"| {row['what']} | {row['median']:.3f} |" in page
        assert row["what"] in table
    assert "student pcd/unet (width=2), teacher pcd/unet (width=4), 16 px, batch 4" in page
    assert saved["hardware"]["versions"]["torch"] in page


def test_command_line_names_networks_and_their_options():
    given = parse(["--student", "monai/unet", "channels=[4, 8]", "--size", "32"])
    settings = settings_from(given)
    assert settings.student == Network("monai/unet", {"channels": [4, 8]})
    assert settings.teacher == Settings().teacher
    assert settings.size == 32


def test_a_single_round_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["--rounds", "1"])
    assert "must be 2 or more" in capsys.readouterr().err
