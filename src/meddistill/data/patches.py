"""Crops of volumes: random ones to train on, one fixed one of each volume to look at between epochs.

Volumes keep their own sizes and lie in one temporary file; a crop reads its own rows of it and nothing else.
Where a volume is smaller than the crop it is continued with its smallest value, and with `IGNORE_INDEX` in
the label.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from meddistill.data.cache import CaseCache, CaseFile
from meddistill.data.case import IGNORE_INDEX, Case, Source
from meddistill.data.dataset import CaseDataset, Transform, as_float
from meddistill.data.noise.relabelling import Relabelling
from meddistill.data.resize import checked_size
from meddistill.data.rows import RowFile
from meddistill.data.sampler import Key
from meddistill.data.seeding import mixed_seed
from meddistill.data.supervision import Supervision
from meddistill.data.transforms import Sample
from meddistill.errors import ConfigError

Corner = tuple[int, ...]
"""Where a crop begins along each axis; below 0 where the volume is smaller than the crop."""

_KEPT_POINTS = 1000
"""Foreground voxels of each class that are remembered for each volume."""

_CROP = 0x43524F50
"""Keeps the draws of crops apart from those of transforms."""


class VoxelFile:
    """Maps (C, Z, Y, X) or (Z, Y, X) of volumes of different sizes in one temporary file, read crop by crop.

    Args:
        shapes: (Z, Y, X) of every volume.
        channels: C, or None for maps without.
        dtype: of the values.

    Example:
        >>> file = VoxelFile([(2, 2, 2), (1, 1, 3)], channels=None, dtype="int16")
        >>> file.write(1, torch.tensor([[[4, 5, 6]]]))
        >>> file.crop(1, (slice(0, 1), slice(0, 1), slice(1, 3))).tolist()
        [[[5, 6]]]
    """

    def __init__(self, shapes: Sequence[Sequence[int]], *, channels: int | None, dtype: str) -> None:
        self.shapes = [tuple(shape) for shape in shapes]
        self.channels = channels
        ends = itertools.accumulate((channels or 1) * math.prod(shape) for shape in self.shapes)
        *self._starts, total = itertools.chain([0], ends)
        self._file = RowFile.temporary(total, (), dtype)

    def write(self, index: int, row: Tensor) -> None:
        """Put the map of a volume in its place, plane by plane.

        Raises:
            OSError: the disk failed.
        """
        planes = row if self.channels is None else row.movedim(0, 1)
        self._file.write_run(self._starts[index], planes.reshape(-1))

    def read(self, indices: Sequence[int]) -> Tensor:
        """Whole maps of some volumes of one size, stacked."""
        whole = [[slice(0, length) for length in self.shapes[index]] for index in indices]
        return torch.stack([self.crop(*found) for found in zip(indices, whole, strict=True)])

    def crop(self, index: int, where: Sequence[slice]) -> Tensor:
        """A part of the map of a volume; `where` has a start and a stop for each of Z, Y, X."""
        _, height, width = self.shapes[index]
        planes, rows, columns = where
        channels, count = self.channels or 1, rows.stop - rows.start
        size = (channels, planes.stop - planes.start, count, columns.stop - columns.start)
        crop = torch.empty(size, dtype=self._file.dtype)
        for z, channel in itertools.product(range(planes.start, planes.stop), range(channels)):
            first = ((z * channels + channel) * height + rows.start) * width
            run = self._file.read_run(self._starts[index] + first, count * width)
            crop[channel, z - planes.start] = run.view(count, width)[:, columns]
        return crop[0] if self.channels is None else crop


class PatchCache(CaseCache):
    """Volumes at their own sizes, decoded once. `gather` and `read` give one crop of each, always the same.

    That crop is centred on the box round the labelled foreground, or on the volume where there is none.

    Args:
        source: reads the volumes.
        cases: what to hold, in this order.
        patch: size of the crops along Z, Y, X.
        supervision: which volumes keep their full labels, as for `CaseCache`.
        noise: gives volumes wrong labels, as for `CaseCache`.

    Raises:
        DataError: as for `CaseCache`.
        ConfigError: `patch` is not one positive number for each axis.

    Example:
        >>> from meddistill.data import PhantomSource
        >>> source = PhantomSource(2, size=(32, 40, 48))
        >>> image, label = PatchCache(source, source.cases, patch=(16, 64, 16)).read(0)
        >>> image.shape, label.shape
        (torch.Size([1, 16, 64, 16]), torch.Size([16, 64, 16]))
    """

    def __init__(
        self,
        source: Source,
        cases: Iterable[Case],
        *,
        patch: Sequence[int],
        supervision: Supervision | None = None,
        noise: Relabelling | None = None,
    ) -> None:
        listed = tuple(cases)
        wanted = checked_size(patch, 3)
        self.shapes = {case.id: _shape(source, case) for case in listed}
        super().__init__(source, listed, size=None, supervision=supervision, noise=noise)
        self.size = wanted
        self._minima, self._points = [], []
        for index in range(len(listed)):
            self._minima.append(float(self.images.read([index]).min()))
            self._points.append(_foreground(self.labels.read([index])[0].numpy()))

    def gather(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images (B, C, *patch) and labels (B, *patch) of the fixed crops of several volumes."""
        crops = [self.crop(index, self.centre(index)) for index in indices]
        return torch.stack([crop["image"] for crop in crops]), torch.stack([crop["label"] for crop in crops])

    def gather_weak(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Whether each volume is fully labelled (B,), and the weak labels (B, *patch) of the fixed crops."""
        if self.full is None:
            raise ValueError("this cache holds no weak labels: give it a supervision")
        weak = torch.stack([self.crop(index, self.centre(index))["weak"] for index in indices])
        return self.full[list(indices)], weak

    def shape(self, index: int) -> tuple[int, ...]:
        """(Z, Y, X) of a volume."""
        return self.shapes[self.cases[index].id]

    def crop(self, index: int, corner: Corner) -> dict[str, Tensor]:
        """Every map, `image` (C, *patch) and labels (*patch), of the crop that begins at `corner`."""
        where, missing = _inside(corner, self.size, self.shape(index))
        crop = {name: cast("VoxelFile", file).crop(index, where) for name, file in self._maps().items()}
        if any(missing):
            for name, values in crop.items():
                fill = self._minima[index] if name == "image" else IGNORE_INDEX
                crop[name] = F.pad(values, missing, value=fill)
        return crop

    def _maps(self) -> dict[str, CaseFile]:
        found = {"image": self.images, "label": self.labels}
        return found if self.weak is None else {**found, "weak": self.weak}

    def centre(self, index: int) -> Corner:
        """The corner of the fixed crop of a volume."""
        shape, points = self.shape(index), list(self._points[index].values())
        if not points:
            return _corner([length // 2 for length in shape], self.size, shape)
        low = np.min([found.min(axis=0) for found in points], axis=0)
        high = np.max([found.max(axis=0) for found in points], axis=0)
        return _corner(((low + high + 1) // 2).tolist(), self.size, shape)

    def draw(self, index: int, seed: int, *, foreground: float) -> Corner:
        """The corner of a random crop: anywhere, or for a share of `foreground` round a labelled voxel.

        Such a voxel is drawn by its class first, so that small structures are seen as often as large ones.
        """
        rng = np.random.default_rng(seed)
        shape, points = self.shape(index), self._points[index]
        if rng.random() < foreground and points:
            found = points[sorted(points)[rng.integers(len(points))]]
            return _corner(found[rng.integers(len(found))].tolist(), self.size, shape)
        spare = [length - side for length, side in zip(shape, self.size, strict=True)]
        return tuple(int(rng.integers(more + 1)) if more > 0 else -(-more // 2) for more in spare)

    def _fits(self, case: Case, image: Tensor) -> bool:
        """Volumes have sizes of their own, as their headers said."""
        return tuple(image.shape[1:]) == self.shapes[case.id]

    def _file_like(self, row: Tensor) -> CaseFile:
        shapes = [self.shapes[case.id] for case in self.cases]
        channels = len(row) if row.ndim > 3 else None
        return VoxelFile(shapes, channels=channels, dtype=str(row.dtype).removeprefix("torch."))


class PatchDataset(CaseDataset):
    """Random crops of cached volumes; the same seed, epoch and index give the same crop in whatever process.

    Args:
        cache: the volumes.
        foreground: share of the crops that are centred on labelled foreground, 0..1.
        transform: changes each crop; None for none.
        seed: the run's seed.

    Raises:
        ConfigError: `foreground` does not lie in 0..1.
    """

    cache: PatchCache

    def __init__(
        self,
        cache: PatchCache,
        *,
        foreground: float = 1 / 3,
        transform: Transform | None = None,
        seed: int = 0,
    ) -> None:
        if not 0 <= foreground <= 1:
            raise ConfigError(f"foreground is a share of the crops and lies in 0..1, not {foreground!r}")
        super().__init__(cache, transform=transform, seed=seed)
        self.foreground = foreground

    def _read(self, keys: Sequence[Key]) -> Sample:
        crops = [self.cache.crop(key[1], self.corner(key)) for key in keys]
        stacked = {name: torch.stack([crop[name] for crop in crops]) for name in crops[0]}
        image = as_float(stacked.pop("image"))
        return cast("Sample", {"image": image, **{name: values.long() for name, values in stacked.items()}})

    def corner(self, key: Key) -> Corner:
        """Where the crop of `key` begins."""
        return self.cache.draw(key[1], mixed_seed(self.seed, *key, _CROP), foreground=self.foreground)


def _shape(source: Source, case: Case) -> tuple[int, ...]:
    """Size of a volume, from its header where the source has one to look at."""
    geometry = getattr(source, "geometry", None)
    found = source.read_label(case).shape if geometry is None else geometry(case).shape
    return tuple(int(length) for length in found)


def _corner(middle: Sequence[int], patch: Sequence[int], shape: Sequence[int]) -> Corner:
    """Where a crop round `middle` begins: within the volume, which lies in its middle where it is smaller."""
    return tuple(
        min(max(0, centre - side // 2), length - side) if length > side else -((side - length) // 2)
        for centre, side, length in zip(middle, patch, shape, strict=True)
    )


def _inside(
    corner: Corner, patch: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[slice, ...], list[int]]:
    """The part of a crop that lies in the volume, and what is missing round it as `F.pad` takes it."""
    where, missing = [], list[int]()
    for start, side, length in zip(corner, patch, shape, strict=True):
        part = slice(max(0, start), min(length, start + side))
        where.append(part)
        missing = [part.start - start, start + side - part.stop, *missing]
    return tuple(where), missing


def _foreground(label: npt.NDArray[np.int16]) -> dict[int, npt.NDArray[np.int32]]:
    """Some voxels (N, 3) of each labelled class but the background, evenly spread in their order."""
    found = {}
    for value in np.unique(label):
        if value > 0:
            places = np.flatnonzero(label == value)
            if len(places) > _KEPT_POINTS:
                places = places[np.linspace(0, len(places) - 1, _KEPT_POINTS).astype(np.int64)]
            found[int(value)] = np.stack(np.unravel_index(places, label.shape), axis=1).astype(np.int32)
    return found
