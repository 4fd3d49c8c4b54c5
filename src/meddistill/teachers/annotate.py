"""Running a teacher once over its cases, into a store: resumable, in shards, by one writer at a time."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from torch import Tensor

from meddistill.errors import ConfigError, RunError
from meddistill.progress import progress
from meddistill.teachers.manifest import Manifest, check_same
from meddistill.teachers.store import TeacherStore

Images = Callable[[Sequence[int]], Tensor]
"""The images (B, C, *S) float32 in 0..1 that belong to some rows of a store."""

Network = Callable[[Tensor], Tensor]
"""Images (B, C, *S) on the CPU to logits (B, K, *S)."""


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, counted from 1.

    Example:
        >>> Shard.parse("2/3").chunks(10)
        range(3, 6)
    """

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `i/n`.

        Raises:
            ConfigError: it is something else, or i does not lie in 1..n.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError(f"--shard is {text!r}; write i/n with i from 1 to n, for example 1/4")
        return cls(int(found[1]), int(found[2]))

    def chunks(self, total: int) -> range:
        """The chunks of this part among `total`: parts are contiguous, disjoint and cover everything."""
        return range(total * (self.index - 1) // self.count, total * self.index // self.count)


WHOLE = Shard()
"""Everything in one part."""


@dataclass(frozen=True)
class Annotation:
    """What an annotation did.

    Args:
        written: rows that the teacher was run for.
        found: rows of this part that were there before.
        seconds: of the whole.
        teacher_seconds: of these, in the teacher.
    """

    written: int
    found: int
    seconds: float
    teacher_seconds: float

    def __add__(self, other: Annotation) -> Annotation:
        """Both together."""
        return Annotation(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __str__(self) -> str:
        """One line for the terminal."""
        if not self.written:
            return f"all {self.found} rows were there"
        speed, share = self.written / self.seconds, self.teacher_seconds / self.seconds
        there = f", {self.found} were there" if self.found else ""
        return f"{self.written} rows written{there}; {speed:.1f} images/s, {share:.0%} of it in the teacher"


def annotate(
    teacher: Network,
    images: Images,
    manifest: Manifest,
    folder: Path | str,
    *,
    shard: Shard = WHOLE,
    wait: bool = False,
) -> Annotation:
    """Write the rows of one part of a store that are not there yet; make the store when there is none.

    Rows are computed in fixed chunks of `manifest.batch_size`, whatever was done before and in however many
    shards, so that the bytes do not depend on it. A row that was damaged is written again.

    Args:
        teacher: gives the logits.
        images: gives the images of some rows.
        manifest: what the store is made from.
        folder: of the store.
        shard: the part to write; several processes can write different parts of one store.
        wait: wait for another process that writes the same part, instead of giving up.

    Raises:
        TeacherError: the folder holds a store of something else, or logits are not finite.
        RunError: the store cannot be written, or another process is writing this part.
    """
    folder, started, in_teacher = Path(folder), time.perf_counter(), 0.0
    TeacherStore.create(folder, manifest)
    with _open_to_write(folder, manifest, shard, wait=wait) as (store, chunks):
        size = manifest.batch_size
        mine = range(chunks.start * size, min(chunks.stop * size, manifest.rows))
        missing = [row for row, good in zip(mine, store.written(mine), strict=True) if not good]
        with progress("annotating", len(mine), done=len(mine) - len(missing)) as advance:
            for chunk, group in itertools.groupby(missing, key=lambda row: row // size):
                rows = range(chunk * size, min((chunk + 1) * size, manifest.rows))
                batch = images(rows)
                before = time.perf_counter()
                logits = teacher(batch).cpu()
                in_teacher += time.perf_counter() - before
                store.write(rows.start, logits)
                advance(len(list(group)))
        store.flush()
    written = len(missing)
    return Annotation(written, len(mine) - written, time.perf_counter() - started, in_teacher)


@contextlib.contextmanager
def _open_to_write(
    folder: Path, manifest: Manifest, shard: Shard, *, wait: bool
) -> Iterator[tuple[TeacherStore, range]]:
    """The store in `folder`, held for the chunks of `shard`."""
    store = TeacherStore.open(folder, writable=True)
    check_same(store.manifest, manifest, folder)
    if store.manifest.cases != manifest.cases or store.manifest.batch_size != manifest.batch_size:
        raise RunError(
            f"{folder} was begun for {len(store.manifest.cases)} cases in batches of "
            f"{store.manifest.batch_size}; go on with the same cases and batch size, or choose another folder"
        )
    chunks = shard.chunks(-(-manifest.rows // manifest.batch_size))
    try:
        with _held(folder / "lock", chunks, wait=wait):
            yield store, chunks
    except OSError as error:
        raise RunError(
            f"cannot write {folder}: {error.strerror}; free some space and run it again: it goes on"
        ) from error


@contextlib.contextmanager
def _held(lock: Path, chunks: range, *, wait: bool) -> Iterator[None]:
    """Hold some chunks against other processes; the system lets go however this one ends."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        place = (max(1, len(chunks)), chunks.start)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, *place)
        except (BlockingIOError, PermissionError) as error:
            if not wait:
                raise RunError(
                    f"{lock.parent} is being written by another process; wait for it or choose another folder"
                ) from error
            print(f"waiting for another process that writes {lock.parent}", file=sys.stderr, flush=True)
            fcntl.lockf(handle, fcntl.LOCK_EX, *place)
        yield
    finally:
        os.close(handle)
