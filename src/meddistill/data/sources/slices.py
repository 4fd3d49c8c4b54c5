"""The slices of volumes as images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.data.case import Case, Split
from meddistill.data.sources.volume import VolumeSource
from meddistill.data.volumes.recent import RecentArrays
from meddistill.errors import ConfigError

Place = tuple[Case, int]
"""A volume and the number of a slice in it."""


@dataclass(frozen=True)
class SliceSource:
    """The slices of every volume of a source, in order, as cases of two axes.

    The id of a slice is `<volume>/<number>`, from 000; its group, stratum and split are those of the volume.
    Volumes are decoded and normalised whole. The last few stay in memory (up to half a gigabyte), so that a
    pass over the slices in order, also by several threads, decodes each volume once.

    Args:
        volumes: the source of volumes.
        axis: the axis that is cut: 0 gives (Y, X), 1 (Z, X), 2 (Z, Y).

    Raises:
        DataError: the header of a volume cannot be read.
        ConfigError: there is no such axis.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from meddistill.data import Geometry, VolumeFolderSource, write_volume
        >>> root = Path(tempfile.mkdtemp())
        >>> grid = Geometry.from_affine(np.eye(4), (3, 1, 2))
        >>> for folder in ("images", "labels"):
        ...     write_volume(root / folder / "a.nii.gz", np.arange(6).reshape(3, 1, 2) // 5, grid)
        >>> slices = SliceSource(VolumeFolderSource(root, classes={"background": 0, "organ": 1}))
        >>> [case.id for case in slices.cases], slices.read_label(slices.cases[2]).tolist()
        (['a/000', 'a/001', 'a/002'], [[0, 1]])
    """

    volumes: VolumeSource
    axis: int = 0
    cases: tuple[Case, ...] = field(init=False, repr=False)
    _places: dict[str, Place] = field(init=False, repr=False, compare=False)
    _recent: RecentArrays = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.axis not in (0, 1, 2):
            raise ConfigError(f"axis must be 0, 1 or 2, not {self.axis!r}")
        slices = [found for volume in self.volumes.cases for found in self._slices(volume)]
        object.__setattr__(self, "cases", tuple(case for case, _ in slices))
        object.__setattr__(self, "_places", {case.id: place for case, place in slices})
        object.__setattr__(self, "_recent", RecentArrays())

    @property
    def class_names(self) -> tuple[str, ...]:
        """Those of the volumes."""
        return self.volumes.class_names

    @property
    def in_channels(self) -> int:
        """Those of the volumes."""
        return self.volumes.in_channels

    @property
    def dims(self) -> int:
        """Always 2."""
        return 2

    def volume_of(self, case: Case) -> Case:
        """The volume that a slice is part of."""
        return self._places[case.id][0]

    def slice_of(self, case: Case) -> int:
        """The number of a slice in its volume."""
        return self._places[case.id][1]

    def volume_cases(self, cases: Iterable[Case]) -> tuple[Case, ...]:
        """The volumes that some slices are part of, each once, in the order of the slices."""
        return tuple({volume.id: volume for volume in map(self.volume_of, cases)}.values())

    def slices_of(self, volumes: Iterable[Case]) -> tuple[Case, ...]:
        """The slices of some volumes, in order."""
        wanted: dict[str, list[Case]] = {volume.id: [] for volume in volumes}
        for case in self.cases:
            wanted.get(self.volume_of(case).id, []).append(case)
        return tuple(case for cases in wanted.values() for case in cases)

    def split(self, split: Split) -> Split:
        """A split of the volumes as one of their slices."""
        parts = {name: self.slices_of(volumes) for name, volumes in split.cases.items()}
        counts = ", ".join(f"{name} {len(cases)}" for name, cases in parts.items())
        return replace(split, cases=parts, note=f"{split.note}; slices: {counts}")

    def read_image(self, case: Case) -> npt.NDArray[np.float32]:
        """The slice as (C, H, W) float32 in 0..1, normalised over its whole volume."""
        return self._cut(case, self.volumes.read_image)

    def read_label(self, case: Case) -> npt.NDArray[np.int16]:
        """The classes as (H, W); see the volumes' source."""
        return self._cut(case, self.volumes.read_label)

    def read_weak(self, case: Case) -> npt.NDArray[np.int16]:
        """The weak label as (H, W); see the volumes' source."""
        return self._cut(case, self.volumes.read_weak)

    def check_files(self, cases: Iterable[Case]) -> None:
        """Compare the headers of the volumes that `cases` are part of; see the volumes' source."""
        self.volumes.check_files(self.volume_cases(cases))

    def _cut(self, case: Case, read: Callable[[Case], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        volume, number = self._places[case.id]
        whole = self._recent.get((read.__name__, volume.id), lambda: read(volume))
        plane: npt.NDArray[Any] = np.take(whole, number, axis=self.axis + whole.ndim - 3)
        return plane

    def _slices(self, volume: Case) -> Iterator[tuple[Case, Place]]:
        for number in range(self.volumes.geometry(volume).shape[self.axis]):
            yield replace(volume, id=f"{volume.id}/{number:03}"), (volume, number)
