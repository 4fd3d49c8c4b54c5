"""Writing a store: once per case, resumable, in shards, by one writer at a time, to the same bytes."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddistill.errors import ConfigError, RunError, TeacherError
from meddistill.teachers.annotate import Annotation, Shard, annotate
from meddistill.teachers.manifest import Views
from meddistill.teachers.store import TeacherStore
from tests.mistakes import snapshot
from tests.teachers.stores import SIZE, Tutor, content, images, manifest, write


class KilledError(Exception):
    """Stands for a writer that dies."""


class Dying(Tutor):
    """Gives up after some rows."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def __call__(self, batch):
        if self.seen >= self.rows:
            raise KilledError
        return super().__call__(batch)


@given(total=st.integers(0, 50), count=st.integers(1, 9))
def test_shards_cover_every_chunk_once(total, count):
    parts = [Shard(index, count).chunks(total) for index in range(1, count + 1)]
    assert [chunk for part in parts for chunk in part] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/b", "1/2/3", "-1/2", "1/0"])
def test_wrong_shards_are_refused(text):
    with pytest.raises(ConfigError, match="write i/n with i from 1 to n"):
        Shard.parse(text)


def test_the_teacher_sees_each_case_once(tmp_path):
    tutor = Tutor()
    done = annotate(tutor, images, manifest(), tmp_path / "store")
    assert (tutor.seen, done.written, done.found) == (10, 10, 0)
    again = annotate(tutor, images, manifest(), tmp_path / "store")
    assert (tutor.seen, again.written, again.found) == (10, 0, 10)
    assert str(again) == "all 10 rows were there"


def test_the_line_that_is_printed():
    done = Annotation(written=10, found=2, seconds=4.0, teacher_seconds=3.0)
    assert str(done) == "10 rows written, 2 were there; 2.5 images/s, 75% of it in the teacher"


@pytest.mark.parametrize(
    "changes", [{}, {"encoding": "uint8", "classes": 20}, {"views": Views("flip", 3, 0, {})}]
)
@pytest.mark.parametrize("rows", [0, 4, 8])
def test_resumed_equals_uninterrupted_byte_for_byte(tmp_path, rows, changes):
    described = manifest(**changes)
    write(tmp_path / "whole", described)
    classes = len(described.classes)
    dying = Dying(rows)
    dying.slopes = Tutor(classes).slopes
    with pytest.raises(KilledError):
        annotate(dying, images, described, tmp_path / "resumed")
    assert not TeacherStore.open(tmp_path / "resumed").complete
    resumed = annotate(Tutor(classes), images, described, tmp_path / "resumed")
    assert (resumed.found, resumed.written) == (rows, described.rows - rows)
    assert content(tmp_path / "resumed") == content(tmp_path / "whole")


def test_a_row_that_was_damaged_is_written_again(tmp_path):
    write(tmp_path / "whole")
    write(tmp_path / "damaged")
    file = tmp_path / "damaged" / "values.npy"
    file.write_bytes(file.read_bytes()[:-3] + b"abc")
    assert write(tmp_path / "damaged").written == 1
    assert content(tmp_path / "damaged") == content(tmp_path / "whole")


@pytest.mark.parametrize("count", [2, 3, 7])
def test_shards_join_to_the_same_bytes_in_any_order(tmp_path, count):
    write(tmp_path / "whole")
    for index in (*range(2, count + 1), 1):
        write(tmp_path / "parts", shard=Shard(index, count))
        assert index == 1 or count > 3 or not TeacherStore.open(tmp_path / "parts").complete
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


def test_a_store_of_something_else_is_refused_untouched(tmp_path):
    write(tmp_path / "store")
    before = snapshot(tmp_path)
    for described in (manifest(weights="other"), manifest(cases=12), manifest(code="9")):
        with pytest.raises(TeacherError, match="does not fit"):
            write(tmp_path / "store", described)
    for described in (manifest(cases=8), manifest(batch_size=2)):
        with pytest.raises(RunError, match="was begun for 10 cases in batches of 4"):
            write(tmp_path / "store", described)
    assert snapshot(tmp_path) == before


def test_broken_weights_are_refused(tmp_path):
    with pytest.raises(TeacherError, match="'tutor' answers with NaN"):
        annotate(
            lambda batch: torch.full((len(batch), 2, *SIZE), float("inf")), images, manifest(), tmp_path / "s"
        )


WRITER = """
import sys, time
from pathlib import Path
from meddistill.cli import run
from meddistill.errors import MedDistillError
from meddistill.teachers.annotate import Shard, annotate
from tests.teachers.stores import Tutor, images, manifest

class Slow(Tutor):
    def __call__(self, batch):
        print("row", flush=True)
        time.sleep(float(sys.argv[3]))
        return super().__call__(batch)

try:
    done = annotate(
        Slow(), images, manifest(), Path(sys.argv[1]), shard=Shard.parse(sys.argv[2])
    )
except MedDistillError as error:
    sys.exit(f"error: {error}")
print(done.written, done.found)
"""


def writer(folder, *, shard="1/1", pause=0.0):
    arguments = [str(folder), shard, str(pause)]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def first_row(process):
    assert process.stdout.readline() == "row\n", process.stderr.read()


def test_killed_in_the_middle_and_resumed_gives_the_same_bytes(tmp_path):
    write(tmp_path / "whole")
    process = writer(tmp_path / "killed", pause=0.5)
    first_row(process)
    first_row(process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not TeacherStore.open(tmp_path / "killed").complete
    assert write(tmp_path / "killed").found == 4
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_two_writers_at_once(tmp_path):
    first = writer(tmp_path / "store", pause=1.0)
    first_row(first)
    with pytest.raises(RunError, match="is being written by another process"):
        write(tmp_path / "store")
    with pytest.raises(RunError, match="is being written by another process"):
        write(tmp_path / "store", shard=Shard(2, 2))
    waited = time.monotonic()
    assert write(tmp_path / "store", wait=True).found == 10
    assert time.monotonic() - waited > 0.5
    assert first.wait(timeout=30) == 0


def test_two_writers_of_different_shards(tmp_path):
    write(tmp_path / "whole")
    first = writer(tmp_path / "store", shard="1/2", pause=1.0)
    first_row(first)
    assert write(tmp_path / "store", shard=Shard(2, 2)).written == 6
    assert first.wait(timeout=30) == 0
    assert content(tmp_path / "store") == content(tmp_path / "whole")


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="there is no /proc here")
def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(RunError, match=r"cannot write /proc/store: .*; the teacher's outputs need 0\.0 MB"):
        write("/proc/store")
