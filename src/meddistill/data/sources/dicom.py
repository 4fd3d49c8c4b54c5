"""Folders of DICOM series, each beside a label in NIfTI."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from meddistill.data.case import Case
from meddistill.data.sources.scan import listed
from meddistill.data.sources.volume import VolumeSource
from meddistill.data.sources.volume_folder import named_volumes
from meddistill.data.volumes.reading import find_volumes
from meddistill.errors import DataError


@dataclass(frozen=True)
class DicomSource(VolumeSource):
    """Series in folders `<name>/`, at any depth, each with its label in `<name>.nii.gz` beside the folder.

    The id of a case is the path of its folder. Labels lie on the grid of the series, see
    `meddistill.data.volumes.write_volume`.

    Raises:
        DataError: there are no series, slices lie in the root itself, a label has no series, or a series has
            no label (unless allowed).
        ConfigError: an argument is out of range, or `classes` is missing.
    """

    def _scan(self) -> Iterator[Case]:
        series = {
            path.relative_to(self.root).as_posix(): path for path in find_volumes(self.root) if path.is_dir()
        }
        if "." in series:
            raise DataError(f"{self.root}: holds slices itself; put each series into a subfolder of its own")
        labels = named_volumes(self.root)
        lone = [path for name, path in labels.items() if name not in series]
        if lone:
            raise DataError(f"label without DICOM series: {listed(lone)}; add the folder or remove the label")
        for name, folder in series.items():
            yield Case(name, folder, (labels[name],) if name in labels else ())
