"""Volumes: grids, NIfTI files and DICOM series, label values and normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meddistill._lazy import lazy_names

if TYPE_CHECKING:
    from meddistill.data.volumes.geometry import Geometry
    from meddistill.data.volumes.nifti import MAX_VOXELS, write_volume
    from meddistill.data.volumes.normalise import Normalisation
    from meddistill.data.volumes.reading import find_volumes, read_geometry, read_volume

_HOME = {
    "MAX_VOXELS": "nifti",
    "Geometry": "geometry",
    "Normalisation": "normalise",
    "find_volumes": "reading",
    "read_geometry": "reading",
    "read_volume": "reading",
    "write_volume": "nifti",
}

__all__ = [
    "MAX_VOXELS",
    "Geometry",
    "Normalisation",
    "find_volumes",
    "read_geometry",
    "read_volume",
    "write_volume",
]

__getattr__ = lazy_names(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
