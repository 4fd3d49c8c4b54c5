"""What the sources of volumes have in common: channels, label values, grids, groups."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from meddistill.data.case import IGNORE_INDEX, Case
from meddistill.data.sources.scan import (
    Unlabelled,
    check_choice,
    compiled_pattern,
    image_of,
    listed,
    matched_name,
)
from meddistill.data.volumes.classes import Classes, ClassMap, whole_numbers
from meddistill.data.volumes.geometry import Geometry, check_same_grid
from meddistill.data.volumes.nifti import nifti_geometry, read_nifti
from meddistill.data.volumes.normalise import Normalisation, NormalisationKind
from meddistill.data.volumes.reading import read_geometry, read_volume
from meddistill.errors import ConfigError, DataError


@dataclass(frozen=True)
class VolumeSource(ABC):
    r"""A source of volumes; subclasses say which files belong together.

    Images are (C, Z, Y, X) float32 in 0..1, labels (Z, Y, X). Axes come as the file stores them: nothing is
    turned or resampled, so that what is predicted lies on the grid of the input.

    Args:
        root: the folder.
        classes: for each class, background first, the label value or values that mean it.
        ignore_value: a label value that means "not labelled".
        normalise: how intensities become 0..1, see `meddistill.data.volumes.Normalisation`.
        window: for `normalise="window"` the intensities that become 0 and 1.
        group_pattern: regular expression searched in the case id; its first group, or the whole match, names
            the group. `"^(patient\d+)"` gives the patient in ACDC. By default each case is its own group.
        unlabelled: "refuse" volumes without a label, or "allow" them with every voxel ignored.
    """

    root: Path
    _: KW_ONLY
    classes: Classes | None = None
    ignore_value: int | None = None
    normalise: NormalisationKind = "percentiles"
    window: tuple[float, float] | None = None
    group_pattern: str | None = None
    unlabelled: Unlabelled = "refuse"
    cases: tuple[Case, ...] = field(init=False, repr=False)
    class_map: ClassMap = field(init=False, repr=False)
    normalisation: Normalisation = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice("unlabelled", self.unlabelled, ("refuse", "allow"))
        pattern = compiled_pattern(self.group_pattern)
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "normalisation", Normalisation(self.normalise, self.window))
        classes, ignore = self._meanings()
        object.__setattr__(self, "class_map", ClassMap.of(classes, ignore))
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder")
        cases = tuple(_grouped(self._scan(), pattern))
        self._check_scan(cases)
        object.__setattr__(self, "cases", cases)

    @abstractmethod
    def _scan(self) -> Iterable[Case]:
        """The cases, without groups, in their order."""

    def _meanings(self) -> tuple[Classes, int | None]:
        """What the label values mean, and which one means not labelled."""
        if self.classes is None:
            raise ConfigError(
                "classes is missing: say what the label values mean, background first, for example "
                "{background: 0, lesion: 1}"
            )
        return self.classes, self.ignore_value

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, background first."""
        return self.class_map.names

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return 1

    @property
    def dims(self) -> int:
        """Always 3."""
        return 3

    def geometry(self, case: Case) -> Geometry:
        """The grid of a case, from the header of its image.

        Raises:
            DataError: the header cannot be read.
        """
        return read_geometry(self.channel_files(case)[0], channels=self._channels_of_file())

    def channel_files(self, case: Case) -> tuple[Path, ...]:
        """The files that together are the image of a case."""
        return (image_of(case),)

    def read_image(self, case: Case) -> npt.NDArray[np.float32]:
        """The image as (C, Z, Y, X) float32 in 0..1, each channel normalised over the whole volume.

        Raises:
            DataError: a file cannot be read, has a voxel that is not finite, or another grid than the first.
        """
        parts = [self._read_channels(path) for path in self._checked_channels(case)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def read_label(self, case: Case) -> npt.NDArray[np.int16]:
        """The classes as (Z, Y, X); all ignored for an unlabelled case.

        Raises:
            DataError: the file cannot be read, lies on another grid than the image, or has a value that is
                not whole or in no class.
        """
        return self._read_classes(case, case.labels[0] if case.labels else None)

    def read_weak(self, case: Case) -> npt.NDArray[np.int16]:
        """The weak label as (Z, Y, X), `IGNORE_INDEX` where nothing is labelled; see `read_label`."""
        return self._read_classes(case, case.weak)

    def check_files(self, cases: Iterable[Case]) -> None:
        """Read the headers of all files of `cases` and compare the grids of image and labels.

        Raises:
            DataError: a header cannot be read, or two grids differ.
        """
        for case in cases:
            self._checked_channels(case)
            grid = self.geometry(case)
            for label in (*case.labels, *([case.weak] if case.weak else [])):
                check_same_grid(label, nifti_geometry(label), image_of(case), grid)

    def _channels_of_file(self) -> int:
        """Channels in one file."""
        return 1

    def _checked_channels(self, case: Case) -> tuple[Path, ...]:
        first, *others = self.channel_files(case)
        for other in others:
            check_same_grid(other, read_geometry(other), first, read_geometry(first))
        return (first, *others)

    def _read_channels(self, path: Path) -> npt.NDArray[np.float32]:
        values = read_volume(path, channels=self._channels_of_file())
        try:
            return self.normalisation(values)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    def _read_classes(self, case: Case, path: Path | None) -> npt.NDArray[np.int16]:
        grid = self.geometry(case)
        if path is None:
            return np.full(grid.shape, IGNORE_INDEX, dtype=np.int16)
        check_same_grid(path, nifti_geometry(path), image_of(case), grid)
        return self.class_map(whole_numbers(read_nifti(path), path), path)

    def _check_scan(self, cases: tuple[Case, ...]) -> None:
        if not cases:
            raise DataError(f"{self.root}: no volumes found; see docs/volumes.md for the layouts")
        bare = [case.image for case in cases if not case.labels]
        if bare and self.unlabelled == "refuse":
            raise DataError(
                f"volume without label: {listed(bare)}; add the label, move the volume elsewhere, or set "
                "unlabelled: allow"
            )


def _grouped(cases: Iterable[Case], pattern: re.Pattern[str] | None) -> Iterator[Case]:
    for case in cases:
        group = case.id if pattern is None else matched_name(pattern, case.id, image_of(case))
        yield replace(case, group=group)
