"""What only whole processes can show: being killed, and training together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from meddistill.training.fit import fit
from meddistill.training.run_folder import RunFolder
from tests.mistakes import snapshot, weights
from tests.recipes import PACED, tiny_recipe, write_recipe
from tests.training.test_fit import history


def start(recipe, out, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "meddistill", "train", str(recipe), "--out", str(out), *options]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)


def wait_for_epoch(run: RunFolder, epochs: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while run.read_state().get("epochs_done", 0) < epochs:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline, "no epoch was finished within two minutes"
        time.sleep(0.005)


@pytest.mark.parametrize("augment", ["none", "light"])
def test_killed_in_an_epoch_and_resumed_ends_bit_identical(tmp_path, teacher_run, augment):
    changes = {
        "teacher": {"path": str(teacher_run.root)},
        "method": PACED,
        "data": {"augment": augment},
        "training": {"epochs": 12, "batch_size": 2},
    }
    whole = fit(tiny_recipe(**changes), tmp_path / "whole")
    recipe = write_recipe(tmp_path, **changes)
    killed = RunFolder(tmp_path / "killed")
    process = start(recipe, killed.root)
    wait_for_epoch(killed, 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.finished
    done = killed.read_state()["epochs_done"]
    assert 2 <= done < 12

    resumed = start(recipe, killed.root, "--resume")
    assert resumed.wait(timeout=240) == 0, resumed.stderr.read().decode()
    assert killed.finished
    for name in ("last_weights", "weights"):
        expected, found = load_file(getattr(whole, name)), load_file(getattr(killed, name))
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    columns = ("epoch", "train_loss", "selection_dice", "threshold")
    assert [[row[c] for c in columns] for row in history(killed)] == [
        [row[c] for c in columns] for row in history(whole)
    ]


def test_two_processes_give_the_loss_of_one(tmp_path):
    """DDP by flags alone, over gloo, from logits that one of the two stores while the other waits.

    With instance norm, so that half a batch is normalised as in the whole.

    In float32: bfloat16 rounds the gradient of half a batch otherwise than that of a whole one.
    """
    model = {"name": "monai/basicunet", "options": {"features": [4, 4, 4, 4, 4, 4]}}
    teacher = {"path": str(weights(tmp_path / "teacher.safetensors"))}
    distilled = {"method": {"name": "distillation"}, "teacher": teacher}
    recipe = write_recipe(tmp_path, model=model, training={"precision": "32"}, **distilled)
    single = start(recipe, tmp_path / "one", "--stores", str(tmp_path / "stores-one"))
    assert single.wait(timeout=240) == 0, single.stderr.read().decode()
    flags = ["--training.accelerator", "cpu", "--training.devices", "2", "--training.strategy", "ddp"]
    double = start(recipe, tmp_path / "two", "--stores", str(tmp_path / "stores-two"), *flags)
    assert double.wait(timeout=240) == 0, double.stderr.read().decode()
    one, two = history(RunFolder(tmp_path / "one")), history(RunFolder(tmp_path / "two"))
    assert snapshot(tmp_path / "stores-two") == snapshot(tmp_path / "stores-one")
    for column in ("train_loss", "train_kd", "selection_loss"):
        assert [float(row[column]) for row in two] == pytest.approx(
            [float(row[column]) for row in one], rel=1e-4
        )


def test_two_processes_train_the_decoder_and_leave_the_encoder_bit_for_bit(tmp_path, teacher_run):
    """DDP waits for no gradient of a frozen weight."""
    fine_tune = {"path": str(teacher_run.root), "layers": "decoder"}
    recipe = write_recipe(tmp_path, model={"options": {"width": 4}}, fine_tune=fine_tune)
    flags = ["--training.accelerator", "cpu", "--training.devices", "2", "--training.strategy", "ddp"]
    process = start(recipe, tmp_path / "two", *flags)
    assert process.wait(timeout=240) == 0, process.stderr.read().decode()
    before, after = load_file(teacher_run.weights), load_file(RunFolder(tmp_path / "two").last_weights)
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert "network.head.weight" in moved
    assert all(name.startswith(("network.decoder", "network.head")) for name in moved)


@pytest.mark.slow
def test_a_study_told_to_stop_takes_its_trainings_along_and_can_go_on(tmp_path):
    study = {"baseline": "a", "rows": {"a": {}, "b": {}}, "seeds": [0]}
    recipe = write_recipe(tmp_path, study=study, training={"epochs": 40, "batch_size": 2})
    out = tmp_path / "out"
    command = [sys.executable, "-m", "meddistill", "study", str(recipe), "--out", str(out), "--jobs", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    wait_for_epoch(RunFolder(out / "runs" / "a-s0"), 1, process)
    process.terminate()
    assert process.wait(timeout=60) != 0
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(out) not in listed
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (out / "table.md").read_text().count("| b ") >= 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_training_stopped_while_it_tunes_leaves_neither_folder_nor_process(tmp_path, number):
    process = start(write_recipe(tmp_path), tmp_path / "run", "--auto-tune", "600")
    said = iter(process.stderr)
    assert any(line.startswith(b"auto-tune: training.") for line in said)
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    )
    [trials] = map(int, listed.stdout.split())
    process.send_signal(number)
    assert process.wait(timeout=60) != 0
    deadline = time.monotonic() + 60
    while Path(f"/proc/{trials}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{trials}").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.yaml"]
