"""Rows on disk: what is written comes back, from any process, and damage is noticed."""

import errno
import os
import pickle
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddistill.data.rows import RowFile
from meddistill.errors import DataError

DTYPES = ("uint8", "int16", "int64", "float16", "float32")


@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.integers(1, 5), max_size=3),
    wanted=st.lists(st.integers(0, 6), max_size=10),
    seed=st.integers(0, 9),
)
def test_rows_come_back_in_the_order_asked_for(dtype, shape, wanted, seed):
    values = torch.from_numpy(np.random.default_rng(seed).integers(0, 100, (7, *shape))).to(
        getattr(torch, dtype)
    )
    rows = RowFile.temporary(7, shape, dtype)
    for index in (3, 0, 6, 1, 2, 5, 4):
        rows.write(index, values[index])
    batch = rows.read(wanted)
    assert batch.dtype == values.dtype
    assert torch.equal(batch, values[wanted])
    assert rows.nbytes == values.nbytes


def test_numpy_reads_the_same_file(tmp_path):
    rows = RowFile.create(tmp_path / "a.npy", 3, (2, 4), "float16")
    rows.write(2, torch.full((2, 4), 1.5))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert mapped.shape == (3, 2, 4)
    assert mapped.dtype == np.float16
    assert mapped[2].tolist() == [[1.5] * 4] * 2
    assert not mapped[:2].any()
    again = RowFile.open(tmp_path / "a.npy")
    assert (len(again), again.shape, again.dtype) == (3, (2, 4), torch.float16)


def test_what_one_process_writes_another_reads(tmp_path):
    rows = RowFile.create(tmp_path / "a.npy", 2, (3,), "int16")
    copy = pickle.loads(pickle.dumps(rows))  # noqa: S301 - written in this line
    rows.write(1, torch.tensor([7, 8, 9]))
    assert copy.read([1]).tolist() == [[7, 8, 9]]
    code = "import sys; from meddistill.data.rows import RowFile; from pathlib import Path; "
    code += "print(RowFile.open(Path(sys.argv[1])).read([1]).tolist())"
    hidden = RowFile.temporary(2, (3,), "int16")
    hidden.write(1, torch.tensor([1, 2, 3]))
    for path, expected in ((rows.path, "[[7, 8, 9]]"), (hidden.path, "[[1, 2, 3]]")):
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


def test_reading_gives_a_batch_of_its_own():
    rows = RowFile.temporary(1, (2,), "float32")
    rows.read([0]).fill_(5)
    assert rows.read([0]).tolist() == [[0, 0]]


@pytest.mark.parametrize("index", [-1, 3])
def test_rows_that_do_not_exist(index):
    rows = RowFile.temporary(3, (2,), "uint8")
    with pytest.raises(IndexError):
        rows.read([index])
    with pytest.raises(IndexError):
        rows.write(index, torch.zeros(2))


def test_an_existing_file_is_not_overwritten(tmp_path):
    (tmp_path / "a.npy").write_text("precious")
    with pytest.raises(FileExistsError):
        RowFile.create(tmp_path / "a.npy", 1, (1,), "uint8")
    assert (tmp_path / "a.npy").read_text() == "precious"


@pytest.mark.parametrize("size", [0, 10, 127, 200])
def test_a_file_that_was_cut_off_is_refused(tmp_path, size):
    RowFile.create(tmp_path / "a.npy", 10, (10,), "uint8").close()
    os.truncate(tmp_path / "a.npy", size)
    with pytest.raises(DataError, match=r"a\.npy: (was cut off|is not a NumPy file)"):
        RowFile.open(tmp_path / "a.npy")


def test_a_file_that_is_cut_off_while_it_is_read(tmp_path):
    rows = RowFile.create(tmp_path / "a.npy", 10, (10,), "uint8")
    os.truncate(tmp_path / "a.npy", 190)
    assert rows.read([0]).shape == (1, 10)
    with pytest.raises(DataError, match="was cut off"):
        rows.read([9])


@pytest.mark.parametrize(
    "value",
    [np.zeros((2, 3), np.complex64), np.zeros((3, 2)).T, np.float32(1.0), np.array([{}], dtype=object)],
)
def test_other_arrays_are_refused(tmp_path, value):
    np.save(tmp_path / "a.npy", value)
    with pytest.raises(DataError, match=r"a\.npy: (holds|was cut off)"):
        RowFile.open(tmp_path / "a.npy")


def test_missing_files(tmp_path):
    with pytest.raises(DataError, match="cannot be opened"):
        RowFile.open(tmp_path / "a.npy")


def test_no_room_is_noticed_before_anything_is_written(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            RowFile.create(tmp_path / "a.npy", 10, (1000,), "uint8")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []
