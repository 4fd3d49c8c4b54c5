"""The process that measures for auto-tune: its answers, and what becomes of it when it crashes or hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from meddistill.training import trial_process
from meddistill.training.clock import PARTS
from meddistill.training.trial import LEAST_ROUNDS, TrialError
from meddistill.training.trial_process import TrialProcess
from meddistill.training.trials import Trials, answer
from tests.recipes import tiny_recipe

WORKERS = {"training.workers": 1}


@pytest.fixture(scope="module")
def trials() -> Trials:
    return Trials(tiny_recipe().model_dump(mode="json"))


def test_the_baseline_tells_shares_and_length(trials):
    found = answer({}, trials)
    assert set(found["shares"]) == set(PARTS)
    assert sum(found["shares"].values()) == pytest.approx(1.0)
    assert found["steps"] == 4 * 3  # 16 cases in batches of 4, three epochs


@pytest.mark.parametrize("change", [{}, {"training.channels_last": True}, WORKERS])
def test_two_settings_take_turns(trials, change):
    found = answer({"without": {}, "change": change, "seconds": 0.01}, trials)
    assert LEAST_ROUNDS - 1 <= len(found["ratios"]) <= LEAST_ROUNDS
    assert min(found["ratios"]) > 0.0
    assert found["step_seconds"] > 0.0
    assert found["start_seconds"] >= 0.0
    assert json.loads(json.dumps(found)) == found


def test_loops_that_are_needed_again_are_kept_and_no_others(trials):
    for change in (WORKERS, {"training.channels_last": True}):
        answer({"without": {}, "change": change, "seconds": 0.01}, trials)
    assert list(trials._loops) == ["{}", '{"training.channels_last": true}']


def test_a_hopeless_change_is_given_up_early(monkeypatch, trials):
    turns = []

    def turn(loop, steps):
        turns.append(steps)
        return 0.05 if loop.task.recipe.training.channels_last else 0.01

    monkeypatch.setattr("meddistill.training.trials._turn", turn)
    change = {"training.channels_last": True}
    found = trials.compare({}, change, 1000.0)
    assert found["ratios"] == pytest.approx([5.0] * 4)
    assert set(turns[2:]) == {15, 3}  # turns of 0.15 s


def test_a_failure_is_an_answer(trials):
    found = answer({"without": {}, "change": {"training.accelerator": "gpu"}, "seconds": 0.01}, trials)
    if "failed" not in found:
        pytest.skip("there is a GPU here")
    assert found["failed"].startswith("training.accelerator: ")
    assert not trials._loops
    assert "ratios" in answer({"without": {}, "change": {}, "seconds": 0.01}, trials)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": {"name": "distillation"}}, "needs a teacher"),
        ({"data": {"source": {"kind": "folder", "root": "nowhere"}}}, "nowhere does not exist"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_an_answer_too(changes, reason):
    assert reason in answer({}, Trials(tiny_recipe(**changes).model_dump(mode="json")))["failed"]


# From outside

PUPPET = textwrap.dedent(
    """
    import json, os, signal, subprocess, sys, time
    print("starting", file=sys.stderr, flush=True)
    recipe = json.loads(sys.stdin.readline())["recipe"]
    print(json.dumps({"shares": {"data": 1.0}, "steps": 7}), flush=True)
    for line in sys.stdin:
        change = json.loads(line)["change"]
        if change == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if change == "leave":
            sys.exit("no room left")
        if change == "hang":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            open(os.environ["PUPPET_CHILD"], "w").write(str(child.pid))
            time.sleep(600)
        if change == "fail":
            print(json.dumps({"failed": "does not compile"}), flush=True)
        else:
            print(json.dumps({"ratios": [0.5], "step_seconds": 2, "start_seconds": 3}), flush=True)
    """
)


@pytest.fixture
def process(monkeypatch, tmp_path):
    monkeypatch.setattr(trial_process, "_COMMAND", [sys.executable, "-c", PUPPET])
    monkeypatch.setenv("PUPPET_CHILD", str(tmp_path / "child"))
    with TrialProcess(tiny_recipe()) as started:
        yield started


def ask(process: TrialProcess, change, limit: float = 60.0):
    return process.compare({}, change, seconds=1.0, limit=limit)


def test_questions_are_answered(process):
    assert process.baseline() == ({"data": 1.0}, 7)
    assert ask(process, {}) == ((0.5,), 2, 3)
    with pytest.raises(TrialError, match=r"^does not compile$"):
        ask(process, "fail")
    assert ask(process, {}).ratios == (0.5,)


@pytest.mark.parametrize(
    ("change", "reason"),
    [("crash", r"ended with signal 11 \(starting\)"), ("leave", r"exit code 1 \(no room left\)")],
)
def test_a_crash_is_told_and_the_next_question_starts_anew(process, change, reason):
    process.baseline()
    with pytest.raises(TrialError, match=reason):
        ask(process, change)
    assert ask(process, {}).ratios == (0.5,)


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
def test_what_hangs_is_ended_with_all_that_it_started(process, tmp_path):
    process.baseline()
    first = process._process.pid
    with pytest.raises(TrialError, match="took longer than the 1 s that were left"):
        ask(process, "hang", limit=1.0)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(first)
    assert not alive(child)
    assert ask(process, {}).ratios == (0.5,)


def test_the_process_ends_with_the_block(process):
    process.baseline()
    pid = process._process.pid
    process.__exit__()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.slow
def test_the_real_process_ends_when_nobody_asks_any_more():
    command = [sys.executable, "-m", "meddistill.training.trials"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        out, _ = started.communicate(timeout=120)
    assert (started.returncode, out) == (1, b"")


@pytest.mark.slow
def test_a_worker_starts_in_the_real_process():
    """It is forked while a thread of that process waits for the next question."""
    with TrialProcess(tiny_recipe()) as real:
        real.baseline()
        found = real.compare({}, WORKERS, seconds=1.0, limit=60.0)
    assert len(found.ratios) >= 2
    assert all(ratio > 0 for ratio in found.ratios)
