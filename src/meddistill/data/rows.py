"""Equal rows on disk: a `.npy` file that is written and read row by row, and never held in memory."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib import format as npy
from torch import Tensor

from meddistill.errors import DataError

_DTYPES = {name: getattr(torch, name) for name in ("uint8", "int16", "int64", "float16", "float32")}


class RowFile:
    """`rows` arrays of one shape and type, as NumPy's `.npy` format lays them out.

    Rows are copied straight from the file into the batch that asks for them. What was read lately stays in
    the system's page cache as long as nobody needs that memory, for all processes at once; the memory of a
    process does not grow with the file. Any tool can map the file (`numpy.load(path, mmap_mode="r")`).

    Use `create`, `open` or `temporary`; a file that is not needed any more closes itself.

    Example:
        >>> rows = RowFile.temporary(3, (2,), "float32")
        >>> rows.write(1, torch.tensor([5.0, 6.0]))
        >>> rows.read([1, 0])
        tensor([[5., 6.],
                [0., 0.]])
    """

    def __init__(self, path: Path, file: int, rows: int, shape: tuple[int, ...], dtype: str) -> None:
        self.path = path
        self.rows = rows
        self.shape = shape
        self.dtype = _DTYPES[dtype]
        self.row_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self._offset = len(_header(rows, shape, dtype))
        self._file = file
        self._turn = threading.Lock()
        self._closing = weakref.finalize(self, os.close, file)

    @classmethod
    def create(cls, path: Path, rows: int, shape: Sequence[int], dtype: str) -> RowFile:
        """A new file of zeros. Its whole space is taken at once, so that a full disk shows here.

        Raises:
            OSError: the file cannot be made, or there is no room for it.
        """
        header = _header(rows, tuple(shape), dtype)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        made = cls(path, file, rows, tuple(shape), dtype)
        try:
            _take_room(file, len(header) + rows * made.row_bytes)
            _write_at(file, header, 0)
        except BaseException:
            made.close()
            path.unlink()
            raise
        return made

    @classmethod
    def open(cls, path: Path, *, writable: bool = False) -> RowFile:
        """The file that `create` made.

        Raises:
            DataError: it is missing, is something else, or was cut off.
        """
        try:
            with open(path, "r+b" if writable else "rb", buffering=0) as opened:
                shape, order, dtype = _read_header(opened)
                file = os.dup(opened.fileno())
        except OSError as error:
            raise DataError(f"{path}: cannot be opened ({error.strerror})") from error
        except ValueError as error:
            raise DataError(f"{path}: is not a NumPy file, or is damaged") from error
        if order or not shape or dtype.name not in _DTYPES:
            os.close(file)
            raise DataError(f"{path}: holds {dtype} of shape {shape}, which is nothing that meddistill wrote")
        opened_rows = cls(path, file, shape[0], shape[1:], dtype.name)
        opened_rows._check_length()
        return opened_rows

    @classmethod
    def temporary(cls, rows: int, shape: Sequence[int], dtype: str) -> RowFile:
        """A file in the folder for temporary files (`TMPDIR`) that vanishes with this object or process.

        Raises:
            DataError: there is no room for it.
        """
        folder = Path(tempfile.gettempdir())
        path = folder / f"meddistill-{os.getpid()}-{os.urandom(4).hex()}.npy"
        try:
            made = cls.create(path, rows, shape, dtype)
        except OSError as error:
            size = rows * int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize / 2**20
            raise DataError(
                f"{folder} has no room for {size:.0f} MB of decoded images ({error.strerror}); "
                "free some space, set TMPDIR to another folder, or give a smaller data.size"
            ) from error
        if Path("/proc/self/fd").exists():  # the open file stays; other processes reach it by its number
            path.unlink()
            made.path = Path(f"/proc/{os.getpid()}/fd/{made._file}")
        else:
            weakref.finalize(made, _remove, path, os.getpid())
        return made

    def __len__(self) -> int:
        """Number of rows."""
        return self.rows

    def __reduce__(self) -> tuple[Any, ...]:
        """Spawned processes open the file again."""
        return RowFile.open, (self.path,)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.rows * self.row_bytes

    def write(self, index: int, row: Tensor) -> None:
        """Put `row` (*shape) in its place.

        Raises:
            OSError: the disk failed.
        """
        content = row.to("cpu", self.dtype).contiguous().numpy()
        _write_at(self._file, _bytes_of(content), self._place(index))

    def write_run(self, start: int, rows: Tensor) -> None:
        """Put `rows` (count, *shape) in place, the first one at `start`.

        Raises:
            OSError: the disk failed.
        """
        content = rows.to("cpu", self.dtype).contiguous().numpy()
        _write_at(self._file, _bytes_of(content), self._places(start, len(rows)))

    def read_run(self, start: int, count: int) -> Tensor:
        """A new tensor (count, *shape) of rows that follow each other.

        Raises:
            DataError: the file was cut off since it was opened.
        """
        run = torch.empty((count, *self.shape), dtype=self.dtype)
        self._read_at(_bytes_of(run.numpy()), self._places(start, count))
        return run

    def read(self, indices: Sequence[int]) -> Tensor:
        """A new tensor (len(indices), *shape).

        Raises:
            DataError: the file was cut off since it was opened.
        """
        batch = torch.empty((len(indices), *self.shape), dtype=self.dtype)
        content = _bytes_of(batch.numpy())
        for position, index in enumerate(indices):
            start = position * self.row_bytes
            self._read_at(content[start : start + self.row_bytes], self._place(index))
        return batch

    def flush(self) -> None:
        """Wait until everything is on the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file now."""
        self._closing()

    def _place(self, index: int) -> int:
        if not 0 <= index < self.rows:
            raise IndexError(f"row {index} of {self.rows}")
        return self._offset + index * self.row_bytes

    def _places(self, start: int, count: int) -> int:
        if not 0 <= start <= start + count <= self.rows:
            raise IndexError(f"rows {start} to {start + count} of {self.rows}")
        return self._offset + start * self.row_bytes

    def _read_at(self, view: memoryview, place: int) -> None:
        while view:
            if hasattr(os, "preadv"):
                count = os.preadv(self._file, [view], place)
            else:
                with self._turn:
                    os.lseek(self._file, place, os.SEEK_SET)
                    part = os.read(self._file, len(view))
                count = len(part)
                view[:count] = part
            if not count:
                self._check_length()
                raise DataError(f"{self.path}: cannot be read to its end")
            view, place = view[count:], place + count

    def _check_length(self) -> None:
        expected, found = self._offset + self.nbytes, os.fstat(self._file).st_size
        if found != expected:
            raise DataError(
                f"{self.path}: was cut off ({found} of {expected} bytes); delete its folder and make it again"
            )


def _bytes_of(values: npt.NDArray[Any]) -> memoryview:
    return values.reshape(-1).view(np.uint8).data


def _header(rows: int, shape: tuple[int, ...], dtype: str) -> bytes:
    content = io.BytesIO()
    described = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (rows, *shape)}
    npy.write_array_header_1_0(content, described)
    return content.getvalue()


def _read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    if npy.read_magic(file) != (1, 0):
        raise ValueError("another version of the format")
    shape, order, dtype = npy.read_array_header_1_0(file)
    return shape, order, dtype


def _take_room(file: int, size: int) -> None:
    """Reserve `size` bytes, all 0; the file gets this length."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    block = bytes(2**20)
    for place in range(0, size, len(block)):
        _write_at(file, block[: size - place], place)


def _write_at(file: int, content: bytes | memoryview, place: int) -> None:
    while content:
        if hasattr(os, "pwrite"):
            count = os.pwrite(file, content, place)
        else:
            os.lseek(file, place, os.SEEK_SET)
            count = os.write(file, content)
        content, place = content[count:], place + count


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:
        with contextlib.suppress(OSError):
            path.unlink()
