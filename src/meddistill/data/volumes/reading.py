"""Volumes of either kind by their path: a NIfTI file, or the folder of a DICOM series."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from meddistill.data.volumes.geometry import Geometry
from meddistill.data.volumes.nifti import is_nifti, nifti_geometry, read_nifti
from meddistill.errors import DataError


def read_geometry(path: Path | str, *, channels: int = 1) -> Geometry:
    """The grid of a volume, from headers alone.

    Args:
        path: a NIfTI file, or a folder that holds the slices of one DICOM series.
        channels: of a NIfTI file; more than one lie along its fourth axis.

    Raises:
        DataError: it cannot be read, or is not one volume.
    """
    if Path(path).is_dir():
        from meddistill.data.volumes.dicom import series_of

        return series_of(path).geometry
    return nifti_geometry(path, channels=channels)


def read_volume(path: Path | str, *, channels: int = 1) -> npt.NDArray[np.generic]:
    """The voxels as (C, Z, Y, X), in the units of the file (Hounsfield units for CT).

    Args:
        path: a NIfTI file, or a folder that holds the slices of one DICOM series.
        channels: C; a DICOM series has one.

    Raises:
        DataError: it cannot be read, or is not one volume.

    Example:
        >>> import tempfile
        >>> from meddistill.data.volumes.nifti import write_volume
        >>> path = Path(tempfile.mkdtemp(), "a.nii")
        >>> write_volume(path, np.array([[[0, 1, 2]]]), Geometry.from_affine(np.eye(4), (1, 1, 3)))
        >>> read_volume(path).tolist(), read_geometry(path).spacing
        ([[[[0, 1, 2]]]], (1.0, 1.0, 1.0))
    """
    if Path(path).is_dir():
        from meddistill.data.volumes.dicom import read_series

        return read_series(path)[None]
    values = read_nifti(path, channels=channels)
    return values if values.ndim == 4 else values[None]


def find_volumes(root: Path | str) -> list[Path]:
    """Every NIfTI file and every folder of a DICOM series below `root`, sorted; hidden ones are left out.

    Raises:
        DataError: `root` is no folder, cannot be listed, or holds none.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    found: list[Path] = []
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "__MACOSX"))]
        shown = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        found += [path for path in shown if is_nifti(path)]
        if any(is_dicom(path) for path in shown):
            found.append(Path(folder))
    if not found:
        raise DataError(f"{root}: the folder holds no NIfTI files and no DICOM series")
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def is_dicom(path: Path) -> bool:
    """True when the name ends in `.dcm` or `.ima`, or the file begins as DICOM files do."""
    if is_nifti(path) or path.name.upper() == "DICOMDIR":
        return False
    if path.suffix.lower() in (".dcm", ".ima"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: the folder cannot be listed ({error.strerror})") from error
