"""Decoded and resized cases, laid down once and shared by all workers."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX, Case, Source
from meddistill.data.noise.relabelling import Changes, Relabelling, count_label
from meddistill.data.resize import INTERPOLATIONS, Interpolation, checked_size, resize_image, resize_label
from meddistill.data.rows import RowFile
from meddistill.data.sources.scan import check_choice
from meddistill.data.supervision import Supervision
from meddistill.data.task import answers_images, task_of
from meddistill.data.validate import check_files
from meddistill.errors import DataError
from meddistill.progress import track


class CaseFile(Protocol):
    """One map of every case."""

    def write(self, index: int, row: Tensor) -> None:
        """Put the map of a case in its place."""
        ...

    def read(self, indices: Sequence[int]) -> Tensor:
        """The maps of some cases, stacked."""
        ...


class _Decoded(NamedTuple):
    """One case at the wanted size, and its spatial size before."""

    image: Tensor
    label: Tensor
    original: tuple[int, ...]


class CaseCache:
    """Images and labels of `cases` at one size, decoded once by a few threads.

    Every case is decoded when the cache is built, so that a damaged file stops a training before it starts.
    Decoded cases lie in temporary files that all workers share, so that memory does not grow with their
    number; see `meddistill.data.rows`.

    Under mixed supervision weak labels are made here, once: drawn ones from the label at `size`, because thin
    strokes and lone pixels would not survive resizing, and those of files resized so that they do. The full
    labels of weak cases are not kept.

    Args:
        source: reads the cases.
        cases: what to hold, in this order.
        size: one number or one per axis; None when all images have the same size already.
        interpolation: how images are resized, see `meddistill.data.resize`; labels always take the nearest
            value.
        labels: whether labels are read; without them every pixel is `IGNORE_INDEX`, whatever the source has.
        noise: gives cases wrong labels, at the size of training and before weak labels are made of them; None
            for the true ones. `changes` counts what it did to each case.
        supervision: which cases keep their full labels, and where weak ones come from; None for full labels
            of all. Then `full` (N,) bool says which do, and `weak` holds the weak labels.

    Raises:
        DataError: no cases, files that `check_files` refuses, that cannot be decoded, or that do not fit
            together, or no room for the temporary files.
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
        supervision: Supervision | None = None,
        noise: Relabelling | None = None,
        labels: bool = True,
    ) -> None:
        check_choice("interpolation", interpolation, INTERPOLATIONS)
        self.source = source
        self.cases = tuple(cases)
        self.interpolation = interpolation
        if not self.cases:
            raise DataError("there are no cases to load; check the data folder and the split")
        self._reads_labels = labels
        check_files(self.cases if labels else map(_bare, self.cases), source)
        self._wanted = None if size is None else checked_size(size, source.dims)
        first = self._decode(self.cases[0])
        self.size = tuple(first.image.shape[1:])
        self._dtype = first.image.dtype
        self.images = self._file_like(first.image)
        self.labels = self._file_like(first.label)
        self._noise = noise
        self.changes = [Changes(0, 0)] * len(self.cases)
        self.supervision = supervision
        self.full: Tensor | None = None
        self.weak: CaseFile | None = None
        if supervision is not None:
            self.full = torch.tensor([case.id in supervision.full for case in self.cases])
            self.weak = self._file_like(first.label)
        self._digests = self._fill()

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.cases)

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Image (C, *S), uint8 or float32 in 0..1, and label (*S), () or (L,) int16 of one case."""
        images, labels = self.gather([index])
        return images[0], labels[0]

    def gather(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images (B, C, *S) and labels (B, *S), (B,) or (B, L) of several cases."""
        return self.images.read(indices), self.labels.read(indices)

    def gather_weak(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Whether each case is fully labelled (B,) bool, and the weak labels (B, *S).

        Raises:
            ValueError: the cache was made without supervision.
        """
        if self.full is None or self.weak is None:
            raise ValueError("this cache holds no weak labels: give it a supervision")
        return self.full[list(indices)], self.weak.read(indices)

    def weak_map(self, index: int) -> Tensor:
        """The weak label (*S) of one case as it is stored, whole also where batches hold crops.

        Raises:
            ValueError: the cache was made without supervision.
        """
        if self.weak is None:
            raise ValueError("this cache holds no weak labels: give it a supervision")
        return self.weak.read([index])[0]

    def narrowed(self, indices: Sequence[int], labels: CaseFile) -> CaseCache:
        """Some of the cases with other labels; nothing is decoded or copied.

        Args:
            indices: positions of the cases, in the order wanted.
            labels: the labels (*S) int16 of all cases of this cache, at their positions.
        """
        made = copy.copy(self)
        made.cases = tuple(self.cases[index] for index in indices)
        made.images, made.labels = ChosenRows(self.images, indices), ChosenRows(labels, indices)
        made.supervision = made.full = made.weak = None
        made.changes = [self.changes[index] for index in indices]
        made._digests = [(self._digests[index][0],) for index in indices]
        return made

    def digest(self, index: int) -> str:
        """SHA-256 of the decoded image of one case, hexadecimal; its label does not matter."""
        return self._digests[index][0].hex()

    def fingerprint(self) -> str:
        """SHA-256 over ids, size, decoded content and supervision, hexadecimal."""
        described: list[Any] = [[case.id for case in self.cases], list(self.size), str(self._dtype)]
        if self.full is not None:
            described.append(self.full.tolist())
        digest = hashlib.sha256(json.dumps(described).encode())
        for parts in self._digests:
            digest.update(b"".join(parts))
        return digest.hexdigest()

    def _fill(self) -> list[tuple[bytes, ...]]:
        threads = min(8, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
            loaded = pool.map(self._load, range(len(self.cases)))
            return list(track(loaded, "Loading cases", total=len(self.cases)))

    def _load(self, index: int) -> tuple[bytes, ...]:
        """Put one case into its rows; the hash of each of them."""
        case = self.cases[index]
        image, label, original = self._decode_checked(case)
        if self._noise is not None:
            noted = self._noise.label(case, label)
            self.changes[index], label = count_label(label, noted), noted
        rows = [(self.images, image), (self.labels, label)]
        if self.supervision is not None and self.weak is not None:
            known, weak = self.supervision.labels(self.source, case, label, original)
            rows = [(self.images, image), (self.labels, known), (self.weak, weak)]
        for file, content in rows:
            file.write(index, content)
        return tuple(_sha256(content) for _, content in rows)

    def _decode_checked(self, case: Case) -> _Decoded:
        """As `_decode`, and refused where it does not fit what the first case set."""
        decoded = self._decode(case)
        if not self._fits(case, decoded.image):
            raise DataError(
                f"{case.id} is {tuple(decoded.image.shape[1:])}, but {self.cases[0].id} is {self.size}; "
                "give one size for all"
            )
        if decoded.image.dtype != self._dtype:
            raise DataError(
                f"{case.id} and {self.cases[0].id} differ in bit depth; "
                "save all images of a set with the same depth"
            )
        return decoded

    def _fits(self, case: Case, image: Tensor) -> bool:  # noqa: ARG002 - of one size, or of its own
        return tuple(image.shape[1:]) == self.size

    def _file_like(self, row: Tensor) -> CaseFile:
        """Where maps such as `row` of all cases lie."""
        return RowFile.temporary(len(self.cases), row.shape, str(row.dtype).removeprefix("torch."))

    def _decode(self, case: Case) -> _Decoded:
        pixels = self.source.read_image(case)
        values = self.source.read_label(case) if self._reads_labels else self._nothing(pixels)
        of_pixels = not answers_images(self.source)
        if (of_pixels and pixels.shape[1:] != values.shape) or len(pixels) != self.source.in_channels:
            raise DataError(f"{case.id}: image {pixels.shape} and label {values.shape} do not fit together")
        if pixels.dtype != np.uint8:
            pixels = pixels.astype(np.float32, copy=False)
        image, label = torch.from_numpy(pixels), torch.from_numpy(values)
        if self._wanted is not None:
            image = resize_image(image, self._wanted, self.interpolation)
            label = resize_label(label, self._wanted) if of_pixels else label
        return _Decoded(image, label, pixels.shape[1:])

    def _nothing(self, pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.int16]:
        """A label of the shape that those of the source have, of which nothing is known."""
        task = task_of(self.source)
        if task == "segmentation":
            return ignored(pixels.shape[1:])
        return ignored((len(self.source.class_names),) if task == "multi_label" else ())


class ChosenRows:
    """Some maps of a file, in an order of their own.

    Args:
        file: holds the maps.
        indices: their positions in it.
    """

    def __init__(self, file: CaseFile, indices: Sequence[int]) -> None:
        self._file = file
        self._indices = tuple(indices)

    def write(self, index: int, row: Tensor) -> None:
        """Put the map of a case in its place."""
        self._file.write(self._indices[index], row)

    def read(self, indices: Sequence[int]) -> Tensor:
        """The maps of some cases, stacked."""
        return self._file.read([self._indices[index] for index in indices])


def ignored(shape: Sequence[int]) -> npt.NDArray[np.int16]:
    """A label map of which nothing is known.

    Example:
        >>> ignored((1, 2)).tolist()
        [[-100, -100]]
    """
    return np.full(tuple(shape), IGNORE_INDEX, dtype=np.int16)


def _bare(case: Case) -> Case:
    return replace(case, labels=(), weak=None)


def _sha256(values: Tensor) -> bytes:
    return hashlib.sha256(values.numpy().tobytes()).digest()
