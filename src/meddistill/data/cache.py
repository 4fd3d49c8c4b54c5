"""Decoded and resized cases, held in memory once and shared by all workers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from meddistill.data.case import Case, Source
from meddistill.data.resize import INTERPOLATIONS, Interpolation, checked_size, resize_image, resize_label
from meddistill.data.sources.scan import check_choice
from meddistill.data.validate import check_files
from meddistill.errors import ConfigError, DataError

DEFAULT_BUDGET = 4 * 2**30
"""Bytes that a cache may fill unless told otherwise."""


class CaseCache:
    """Images and labels of `cases` at one size, decoded once by a few threads.

    Every case is decoded when the cache is built, so that a damaged file stops a training before it starts.
    As many cases as fit into the budget are kept, in shared memory; the others are decoded again whenever
    they are read.

    Args:
        source: reads the cases.
        cases: what to hold, in this order.
        size: one number or one per axis; None when all images have the same size already.
        interpolation: how images are resized, see `meddistill.data.resize`; labels always take the nearest
            value.
        budget_bytes: the most that the two tensors may fill.

    Raises:
        DataError: no cases, or files that `check_files` refuses, that cannot be decoded, or that do not fit
            together.
        ConfigError: an argument is out of range.

    Example:
        >>> from PIL import Image
        >>> import tempfile; from pathlib import Path
        >>> from meddistill.data import FolderSource
        >>> root = Path(tempfile.mkdtemp())
        >>> Image.new("L", (8, 6), 51).save(root / "a.png")
        >>> Image.new("L", (8, 6), 255).save(root / "a_mask.png")
        >>> source = FolderSource(root)
        >>> image, label = CaseCache(source, source.cases, size=4).read(0)
        >>> image.shape, image.unique().tolist(), label.unique().tolist()
        (torch.Size([1, 4, 4]), [51], [1])
    """

    def __init__(
        self,
        source: Source,
        cases: Iterable[Case],
        *,
        size: int | Sequence[int] | None,
        interpolation: Interpolation = "bilinear",
        budget_bytes: int = DEFAULT_BUDGET,
    ) -> None:
        check_choice("interpolation", interpolation, INTERPOLATIONS)
        if budget_bytes < 0:
            raise ConfigError(f"budget_bytes must be 0 or more, not {budget_bytes}")
        self.source = source
        self.cases = tuple(cases)
        self.interpolation = interpolation
        if not self.cases:
            raise DataError("there are no cases to load; check the data folder and the split")
        check_files(self.cases)
        self._wanted = None if size is None else checked_size(size, source.dims)
        image, label = self._decode(self.cases[0])
        self.size = tuple(label.shape)
        self._dtype = image.dtype
        kept = min(len(self.cases), budget_bytes // (image.nbytes + label.nbytes))
        self.images = _shared((kept, *image.shape), image.dtype)
        self.labels = _shared((kept, *label.shape), label.dtype)
        self._digests = self._fill()

    def __len__(self) -> int:
        """Number of cases, kept or not."""
        return len(self.cases)

    @property
    def kept(self) -> int:
        """Number of cases in memory: the first ones."""
        return len(self.images)

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Image (C, *S), uint8 or float32 in 0..1, and label (*S) int16 of one case; not to be written to."""
        if index < self.kept:
            return self.images[index], self.labels[index]
        return self._decode_checked(self.cases[index])

    def gather(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images (B, C, *S) and labels (B, *S) of several cases, by one indexing where all are in memory."""
        if max(indices) < self.kept:
            chosen = torch.as_tensor(indices)
            return self.images.index_select(0, chosen), self.labels.index_select(0, chosen)
        images, labels = zip(*(self.read(index) for index in indices), strict=True)
        return torch.stack(images), torch.stack(labels)

    def fingerprint(self) -> str:
        """SHA-256 over ids, size and decoded content, hexadecimal; the same whatever the budget."""
        names = [case.id for case in self.cases]
        digest = hashlib.sha256(json.dumps([names, list(self.size), str(self._dtype)]).encode())
        for part in self._digests:
            digest.update(part)
        return digest.hexdigest()

    def _fill(self) -> list[bytes]:
        threads = min(8, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
            return list(_progress(pool.map(self._load, range(len(self.cases))), len(self.cases)))

    def _load(self, index: int) -> bytes:
        image, label = self._decode_checked(self.cases[index])
        if index < self.kept:
            self.images[index] = image
            self.labels[index] = label
        return hashlib.sha256(image.numpy().tobytes() + label.numpy().tobytes()).digest()

    def _decode_checked(self, case: Case) -> tuple[Tensor, Tensor]:
        """As `_decode`, and refused where it does not fit what the first case set."""
        image, label = self._decode(case)
        if tuple(label.shape) != self.size:
            raise DataError(
                f"{case.id} is {tuple(label.shape)}, but {self.cases[0].id} is {self.size}; "
                "give one size for all"
            )
        if image.dtype != self._dtype:
            raise DataError(
                f"{case.id} and {self.cases[0].id} differ in bit depth; "
                "save all images of a set with the same depth"
            )
        return image, label

    def _decode(self, case: Case) -> tuple[Tensor, Tensor]:
        pixels, values = self.source.read_image(case), self.source.read_label(case)
        if pixels.shape[1:] != values.shape or len(pixels) != self.source.in_channels:
            raise DataError(f"{case.id}: image {pixels.shape} and label {values.shape} do not fit together")
        if pixels.dtype != np.uint8:
            pixels = pixels.astype(np.float32, copy=False)
        image, label = torch.from_numpy(pixels), torch.from_numpy(values)
        if self._wanted is None:
            return image, label
        return resize_image(image, self._wanted, self.interpolation), resize_label(label, self._wanted)


def _shared(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor in shared memory.

    Where /dev/shm has no room (containers often allow 64 MB, and writing past that kills the process) the
    memory is ordinary; forked workers share that too.
    """
    tensor = torch.empty(shape, dtype=dtype)
    if 0 < tensor.nbytes < _shared_memory_left():
        with contextlib.suppress(RuntimeError):  # taken by others meanwhile, or above the user's limit
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    return tensor


def _shared_memory_left() -> float:
    try:
        room = os.statvfs("/dev/shm")
    except (OSError, AttributeError):
        return math.inf
    return 0.9 * room.f_bavail * room.f_frsize


def _progress(items: Iterable[bytes], total: int) -> Iterator[bytes]:
    """`items` with a progress bar on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, "Loading cases", total=total, console=Console(stderr=True), transient=True)
