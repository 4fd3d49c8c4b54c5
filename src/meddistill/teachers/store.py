"""A folder with the logits of a teacher, one row for each case (or for each augmented view of a case)."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from meddistill.data.rows import RowFile
from meddistill.errors import DataError, RunError, TeacherError
from meddistill.files import write_json
from meddistill.progress import track
from meddistill.teachers.manifest import Manifest

MANIFEST = "manifest.json"


class TeacherStore:
    """Reads and writes the rows of a store; see `docs/teacher-store.md` for its files.

    A row counts as written when its checksum is there, which comes last: a writer that is killed leaves a
    store whose rows are whole or missing.

    Use `create` and `open`, or `temporary`.

    Args:
        folder: of the store.
        manifest: what it was made from.
        files: its files, by name.
    """

    def __init__(self, folder: Path, manifest: Manifest, files: Mapping[str, RowFile]) -> None:
        self.folder = folder
        self.manifest = manifest
        self._layout, self._encoding = manifest.layout, manifest.codes
        self._files = dict(files)

    @classmethod
    def open(cls, folder: Path | str, *, writable: bool = False) -> Self:
        """The store in `folder`.

        Raises:
            TeacherError: there is none, or a file of it is missing, damaged or was cut off.
        """
        folder = Path(folder)
        try:
            described = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TeacherError(
                f"{folder} is not a teacher store: its {MANIFEST} cannot be read; "
                "`meddistill annotate` makes a store"
            ) from error
        manifest = Manifest.from_json(described, folder)
        return cls(folder, manifest, _open_files(folder, manifest, writable=writable))

    @classmethod
    def temporary(cls, manifest: Manifest) -> Self:
        """An empty store that vanishes with this object or process.

        Raises:
            DataError: the folder for temporary files has no room.
        """
        shapes = _shapes(manifest).items()
        files = {name: RowFile.temporary(manifest.rows, shape, dtype) for name, (shape, dtype) in shapes}
        return cls(files["values"].path, manifest, files)

    @classmethod
    def create(cls, folder: Path | str, manifest: Manifest) -> None:
        """Make an empty store; it appears whole or not at all. A store that is there already is left alone.

        Raises:
            RunError: the folder holds something else, cannot be written, or the disk has no room.
        """
        folder = Path(folder)
        if (folder / MANIFEST).is_file():
            return
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(f"{folder} exists and is not a teacher store; choose another folder")
        beside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        made = [parent for parent in folder.parents if not parent.exists()]
        try:
            beside.mkdir(parents=True)
            for name, (shape, dtype) in _shapes(manifest).items():
                RowFile.create(beside / f"{name}.npy", manifest.rows, shape, dtype).close()
            write_json(beside / MANIFEST, manifest.to_json())
            _put_in_place(beside, folder)
        except BaseException as error:
            shutil.rmtree(beside, ignore_errors=True)
            for parent in made:
                if parent.is_dir() and not any(parent.iterdir()):
                    parent.rmdir()
            if not isinstance(error, OSError):
                raise
            size = sum(bytes_per_row(manifest).values()) * manifest.rows / 2**20
            raise RunError(
                f"cannot write {folder}: {error.strerror}; the teacher's outputs need {size:.1f} MB: free "
                "some space, choose another folder, or train with --teacher.mode live"
            ) from error

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return sum(file.nbytes for file in self._files.values())

    @property
    def complete(self) -> bool:
        """Whether every row is written."""
        return bool(self._files["checks"].read(range(self.manifest.rows)).all())

    def written(self, rows: range | None = None) -> list[bool]:
        """For each row (of `rows`, or of all) whether it is written and still as it was."""
        rows = range(self.manifest.rows) if rows is None else rows
        checks = self._files["checks"].read(rows).tolist()
        marked = zip(rows, checks, strict=True)
        return [
            bool(check) and self._checksum(row) == check
            for row, check in track(marked, "checking the store", total=len(rows))
        ]

    def verify(self) -> None:
        """Read everything once.

        Raises:
            TeacherError: rows are missing or damaged.
        """
        bad = [row for row, good in enumerate(self.written()) if not good]
        if bad:
            case = self.manifest.cases[bad[0] // self.manifest.views_per_case][0]
            raise TeacherError(
                f"teacher store {self.folder}: {len(bad)} of {self.manifest.rows} rows are missing or "
                f"damaged, first that of {case}; go on with `meddistill annotate` into the same folder"
            )

    def read(self, rows: Sequence[int]) -> Tensor:
        """Logits (len(rows), K, *S) float32, up to a number added to all logits of a pixel.

        Raises:
            DataError: a file was cut off since the store was opened.
        """
        part = {name: file.read(rows) for name, file in self._files.items() if name != "checks"}
        values = self._encoding.decode(part["values"], part.get("bounds"))
        return self._layout.unpack(values, part.get("classes"))

    def write(self, start: int, logits: Tensor) -> None:
        """Put logits (B, K, *S) into the rows from `start` on.

        Raises:
            TeacherError: they are not finite.
            OSError: the disk failed.
        """
        if not bool(logits.isfinite().all()):
            raise TeacherError(
                f"teacher {self.manifest.teacher!r} answers with NaN or infinity; its weights are broken"
            )
        values, classes = self._layout.pack(logits)
        codes, bounds = self._encoding.encode(values)
        parts = {"values": codes, "classes": classes, "bounds": bounds}
        for offset in range(len(logits)):
            for name, part in parts.items():
                if part is not None:
                    self._files[name].write(start + offset, part[offset])
            self._files["checks"].write(start + offset, torch.tensor(self._checksum(start + offset)))

    def flush(self) -> None:
        """Wait until everything is on the disk."""
        for file in self._files.values():
            file.flush()

    def _checksum(self, row: int) -> int:
        """CRC-32 over the row in all files, plus 1: 0 stands for a row that is not written."""
        check = 0
        for name, file in self._files.items():
            if name != "checks":
                check = zlib.crc32(file.read([row]).numpy().tobytes(), check)
        return check + 1


def bytes_per_row(manifest: Manifest) -> dict[str, int]:
    """Bytes of one row in each file of a store."""
    return {
        name: torch.empty(shape, dtype=getattr(torch, dtype)).nbytes
        for name, (shape, dtype) in _shapes(manifest).items()
    }


def _open_files(folder: Path, manifest: Manifest, *, writable: bool) -> dict[str, RowFile]:
    files = {}
    for name, (shape, dtype) in _shapes(manifest).items():
        try:
            file = RowFile.open(folder / f"{name}.npy", writable=writable)
        except DataError as error:
            raise TeacherError(f"teacher store: {error}") from error
        if (file.rows, file.shape, str(file.dtype)) != (manifest.rows, shape, f"torch.{dtype}"):
            raise TeacherError(f"teacher store: {file.path} does not fit its manifest; annotate again")
        files[name] = file
    return files


def _shapes(manifest: Manifest) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of a row in each file of a store."""
    layout, encoding = manifest.layout, manifest.codes
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "values": ((layout.channels, *manifest.size), encoding.dtype),
        "checks": ((), "int64"),
    }
    if encoding.calibrated:
        shapes["bounds"] = ((2,), "float32")
    if layout.ranks:
        kind = "uint8" if len(manifest.classes) <= 256 else "int16"
        shapes["classes"] = ((layout.ranks, *manifest.size), kind)
    return shapes


def _put_in_place(made: Path, folder: Path) -> None:
    """Rename the folder; where another process was faster, its store stays."""
    try:
        made.rename(folder)
    except OSError:
        if not (folder / MANIFEST).is_file():
            raise
        shutil.rmtree(made)
