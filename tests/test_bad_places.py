"""Places that cannot be written, disks that fill up, and files that would break or take over the process."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from meddistill.cli import run
from meddistill.training.run_folder import RunFolder
from tests.data.builders import busi_tree, png_bomb
from tests.mistakes import (
    RunsCode,
    check_mistake,
    made_run,
    raw_pickle,
    snapshot,
    the_line,
    torch_pickle,
    train,
    weights,
)
from tests.recipes import write_recipe

NOBODY = 65534
NOWHERE = Path("/proc/meddistill/out")
"""Below /proc not even root can make a folder."""

needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")


def writing_command(name: str, inputs: Path, out: Path) -> list[str]:
    """A command with good inputs that writes `out`."""
    images = busi_tree(inputs / "images", per_class=1)
    runs = [str(made_run(inputs / row, dice=(0.1, 0.2))) for row in ("iid", "kd")]
    teacher = {"path": str(weights(inputs / "teacher.safetensors"))}
    recipe = str(write_recipe(inputs, teacher=teacher, study={"rows": {"iid": {}}, "baseline": "iid"}))
    return {
        "annotate": ["annotate", recipe],
        "train": ["train", recipe],
        "study": ["study", recipe],
        "predict": ["predict", runs[0], str(images)],
        "export": ["export", runs[0]],
        "compare": ["compare", *runs],
        "phantom": ["data", "phantom", "--cases", "1", "--size", "32"],
    }[name] + ["-o", named(name, out)]


def named(command: str, out: Path) -> str:
    """`out` with the ending that the command wants."""
    return f"{out}.pt" if command == "export" else str(out)


WRITING = ("train", "annotate", "study", "predict", "export", "compare", "phantom")


@needs_proc
@pytest.mark.parametrize("name", WRITING)
def test_a_place_where_not_even_root_can_write(name, tmp_path, capfd):
    check_mistake(writing_command(name, tmp_path, NOWHERE), ["cannot write", "/proc"], tmp_path, capfd)


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """The rights of an ordinary user, also where root runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can read; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@needs_proc
@pytest.mark.parametrize("name", WRITING)
def test_a_read_only_folder(name, open_folder, capfd):
    locked = open_folder / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    command = writing_command(name, open_folder, locked / "out")
    run([*command[:-1], named(name, NOWHERE)])  # imports what an ordinary user may be unable to read
    before = snapshot(open_folder)
    capfd.readouterr()
    with ordinary_user():
        assert run(command) == 2
    line = the_line(*capfd.readouterr())
    assert "cannot write" in line
    assert str(locked) in line
    assert snapshot(open_folder) == before


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def disk_of(size: int, place: Path) -> Iterator[None]:
    """A real disk of `size` bytes at `place`."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def errors_only(err: str) -> str:
    """Without the lines on finished epochs."""
    return "\n".join(line for line in err.splitlines() if not line.startswith("epoch "))


def test_a_disk_that_is_full_before_the_first_step_leaves_nothing(tmp_path, capfd):
    command = train(tmp_path)
    before = snapshot(tmp_path)
    with files_up_to(500):
        assert run(command) == 2
    assert "no room for 0 MB of decoded images" in the_line(*capfd.readouterr())
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("size", "broken_file"),
    [(40_000, "student.safetensors"), (600_000, "last.ckpt")],
)
def test_a_run_on_a_full_disk_can_be_resumed(size, broken_file, tmp_path, teacher_run, capfd):
    command = train(tmp_path, model={"options": {"width": 4}})
    with files_up_to(size):
        assert run(command) == 2
    assert broken_file in the_line(*capfd.readouterr())
    left = RunFolder(tmp_path / "out")
    assert left.read_state()["state"] == "running"
    assert not [path for path in left.root.rglob("*") if path.name.endswith(".tmp")]
    assert run([*command, "--resume"]) == 0
    expected, found = load_file(teacher_run.last_weights), load_file(left.last_weights)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("size", [4096, 65536, 262144])
def test_a_small_disk(size, tmp_path, capfd):
    command = train(tmp_path)
    command[command.index("-o") + 1] = str(tmp_path / "disk" / "run")
    with disk_of(size, tmp_path / "disk"):
        assert run(command) == 2
        out, err = capfd.readouterr()
        assert "No space left on device" in the_line(out, errors_only(err))
        left = {path.name for path in (tmp_path / "disk").rglob("*") if path.is_file()}
    assert not left or "config.yaml" in left
    assert not [name for name in left if name.endswith(".tmp")]


@pytest.mark.parametrize("mode", ["annotate", "train"])
def test_a_disk_too_small_for_the_teachers_outputs(mode, tmp_path, capfd):
    """All the room is taken before the teacher is run: nothing is half written."""
    teacher = {"path": str(weights(tmp_path / "teacher.safetensors"))}
    command = train(tmp_path, teacher=teacher, method={"name": "distillation"})
    command[0] = mode
    command[command.index("-o") + 1] = str(tmp_path / "disk" / "out")
    with disk_of(16384, tmp_path / "disk"):
        assert run(command) == 2
        line = the_line(*capfd.readouterr())
        assert "No space left on device" in line
        assert "the teacher's outputs need 0.0 MB" in line
        assert list((tmp_path / "disk").iterdir()) == []


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_disk_that_fills_up_under_tensorboard(tmp_path, capfd, monkeypatch):
    """Its writer thread meets the full disk first and must not print a traceback of its own."""
    from meddistill.training import module

    with contextlib.ExitStack() as stack:
        begin = module.DistillationModule.on_train_epoch_start

        def fill_disk(self):
            stack.enter_context(files_up_to(100))
            begin(self)

        monkeypatch.setattr(module.DistillationModule, "on_train_epoch_start", fill_disk)
        command = train(tmp_path)
        assert run(command) == 2
    assert "free some space" in the_line(*capfd.readouterr())
    monkeypatch.undo()
    assert run([*command, "--resume"]) == 0


def process(command: list[str], limit: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user would start it."""
    return subprocess.run(
        [sys.executable, "-m", "meddistill", *command],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def limited(kind: int, size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (size, size))


def test_a_bomb_is_refused_in_little_memory(tmp_path):
    """The image would take 10 GB."""
    root = busi_tree(tmp_path / "data")
    png_bomb(root / "benign" / "benign (1).png")
    done = process(["inspect", str(root)], limited(resource.RLIMIT_DATA, 2**30))
    assert done.returncode == 2
    assert "1 of the findings above" in the_line("", done.stderr)
    assert "refused without decoding" in done.stdout


@pytest.mark.slow
def test_a_process_on_a_full_disk_says_one_line(tmp_path):
    command = train(tmp_path)
    done = process(command, limited(resource.RLIMIT_FSIZE, 40_000))
    assert done.returncode == 2, done.stderr
    assert "student.safetensors" in the_line(done.stdout, done.stderr)
    assert RunFolder(tmp_path / "out").read_state()["state"] == "running"


@pytest.mark.slow
@pytest.mark.parametrize("write", [raw_pickle, torch_pickle])
def test_a_process_does_not_run_the_code_in_a_teacher(write, tmp_path):
    write(RunsCode(tmp_path / "ran"), tmp_path / "teacher.pt")
    teacher = {"path": str(tmp_path / "teacher.pt")}
    done = process(train(tmp_path, teacher=teacher, method={"name": "distillation"}))
    assert done.returncode == 2, done.stderr
    assert "holds Python code" in the_line(done.stdout, done.stderr)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()
