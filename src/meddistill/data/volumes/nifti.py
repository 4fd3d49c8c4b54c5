"""NIfTI files (`.nii`, `.nii.gz`): grids from the header alone, voxels, and label maps written back."""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError

from meddistill.data.volumes.geometry import Geometry, LengthUnit, by
from meddistill.errors import ConfigError, DataError
from meddistill.files import replacing

MAX_VOXELS = 2**29
"""Volumes with more voxels (512 x 512 x 2048) are refused unread."""

ENDINGS = (".nii.gz", ".nii")
"""Of files that are read and written here."""

# What nibabel has to say of a header is in the errors it raises; its own handler would print it as well.
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL + 1)

_KINDS: dict[bytes, Any] = {
    size.to_bytes(4, order): kind
    for size, kind in ((348, nibabel.Nifti1Image), (540, nibabel.Nifti2Image))
    for order in ("little", "big")
}
"""Both versions by the first four bytes of a file, the size of its header."""

_SCANNER = 1
"""NIfTI's code for an affine in the coordinates of the scanner."""

_UNITS: dict[str, LengthUnit] = {"meter": "meter", "micron": "micron"}


def is_nifti(path: Path | str) -> bool:
    """True when the name ends as that of a NIfTI file.

    Example:
        >>> is_nifti("a/b.NII.gz"), is_nifti("a/b.gz")
        (True, False)
    """
    return str(path).lower().endswith(ENDINGS)


def strip_nifti(name: str) -> str:
    """`name` without its NIfTI ending; unchanged when it has none.

    Example:
        >>> strip_nifti("patient001_frame01.nii.gz"), strip_nifti("series.1")
        ('patient001_frame01', 'series.1')
    """
    ending = next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]


def nifti_geometry(path: Path | str, *, channels: int | None = None) -> Geometry:
    """The grid of a NIfTI file, from its header alone.

    The spacing counts as unknown where the header says nothing of it: all voxel sizes are 1, and the affine
    is missing, or is the identity and not said to be that of the scanner.

    Args:
        path: the file.
        channels: of a file with a fourth axis that holds channels; 1 or None for a file of three axes.

    Raises:
        DataError: the file is missing, empty, not NIfTI, has other axes, is larger than `MAX_VOXELS`, or has
            an affine without inverse.
    """
    with _opened(Path(path)) as image:
        return _geometry(image, channels)


def read_nifti(path: Path | str, *, channels: int | None = None) -> npt.NDArray[np.generic]:
    """The voxels as (Z, Y, X), or (C, Z, Y, X) of several `channels`; scaled ones as float32.

    Raises:
        DataError: as for `nifti_geometry`, or the voxels are damaged, cut off, or colours.
    """
    with _opened(Path(path)) as image:
        shape = _checked_shape(image, channels)
        dtype = image.get_data_dtype()
        if dtype.kind not in "buif":
            raise DataError(f"stores voxels of the type {dtype}; save one real number per voxel")
        slope, inter = image.dataobj.slope, image.dataobj.inter
        if (slope, inter) == (1, 0):
            values: npt.NDArray[Any] = np.asanyarray(image.dataobj)
        else:
            values = image.get_fdata(dtype=np.float32, caching="unchanged")
        _read_to_the_end(image)
        if isinstance(values, np.memmap):
            values = np.array(values)
        return np.ascontiguousarray(values.reshape(shape, order="F").T)


def write_volume(path: Path | str, labels: npt.NDArray[np.integer[Any]], geometry: Geometry) -> None:
    """Write a label map as NIfTI on the grid that `geometry` describes, in one step.

    Args:
        path: ends in `.nii` or `.nii.gz`.
        labels: (Z, Y, X) whole numbers; stored as uint8 where they fit, else as int16 or int32.
        geometry: of the image that was labelled.

    Raises:
        ConfigError: another ending.
        DataError: the labels have another shape than the grid, or are no whole numbers of 32 bits.
        RunError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "label.nii.gz")
        >>> grid = Geometry.from_affine(np.diag([-0.5, 0.7, 3, 1]), (2, 3, 4))
        >>> write_volume(path, np.ones((2, 3, 4), dtype=np.int64), grid)
        >>> read_nifti(path).dtype, np.round(nifti_geometry(path).spacing, 6).tolist()
        (dtype('uint8'), [3.0, 0.7, 0.5])
    """
    path = Path(path)
    if not is_nifti(path):
        raise ConfigError(f"{path}: label maps of volumes are written as .nii.gz or .nii")
    if labels.shape != geometry.shape:
        raise DataError(f"{path}: labels {by(labels.shape)} do not fit the grid {by(geometry.shape)}")
    image = _image(labels.astype(_stored_type(path, labels)).T, geometry)
    content = image.to_bytes()
    if path.name.lower().endswith(".gz"):
        content = gzip.compress(content, compresslevel=5, mtime=0)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _image(voxels: npt.NDArray[Any], geometry: Geometry) -> nibabel.Nifti1Image:
    """A file in memory that says as much of the grid as is known, and no more."""
    image = nibabel.Nifti1Image(voxels, None)
    image.header.set_xyzt_units(geometry.affine_unit)
    image.header.set_zooms(np.linalg.norm(geometry.affine[:3, :3], axis=0))
    if geometry.spacing is not None:
        image.set_sform(geometry.affine, code="scanner")
    elif not np.array_equal(image.header.get_best_affine(), geometry.affine):
        image.set_sform(geometry.affine, code="aligned")
    return image


def _stored_type(path: Path, labels: npt.NDArray[Any]) -> npt.DTypeLike:
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    for dtype in (np.uint8, np.int16, np.int32):
        if labels.dtype.kind in "bui" and np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return dtype
    raise DataError(f"{path}: labels must be whole numbers of 32 bits, not {labels.dtype} up to {high}")


@contextmanager
def _opened(path: Path) -> Iterator[nibabel.Nifti1Image]:
    """The image with its header read; whatever goes wrong, here or in the body, names the file."""
    try:
        if path.stat().st_size == 0:
            raise DataError("the file is empty (0 bytes)")
        with _stream(path) as stream:
            kind = _KINDS.get(stream.read(4))
            if kind is None:
                raise DataError("not a NIfTI file; convert it to .nii.gz")
            stream.seek(0)
            yield kind.from_stream(stream)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except ImageFileError as error:
        raise DataError(f"{path}: not a NIfTI file, or its header is damaged; save it again") from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror})") from error
    except Exception as error:  # damaged headers and streams raise almost any type
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path}: cannot be read ({reason}); the file is damaged or cut off: copy it again"
        ) from error


def _stream(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


def _read_to_the_end(image: nibabel.Nifti1Image) -> None:
    """Only at the end of a compressed file is its checksum compared."""
    stream = image.file_map["image"].fileobj
    while stream.read(2**20):
        pass


def _geometry(image: nibabel.Nifti1Image, channels: int | None) -> Geometry:
    shape = _checked_shape(image, channels)
    x, y, z = shape[:3]
    header = image.header
    affine = np.asarray(image.affine, dtype=np.float64)
    codes = {int(header["sform_code"]), int(header["qform_code"])}
    placed = codes != {0} and (_SCANNER in codes or not np.array_equal(affine, np.eye(4)))
    unknown = not placed and all(size == 1 for size in header.get_zooms()[:3])
    unit = _UNITS.get(header.get_xyzt_units()[0], "mm")
    return Geometry.from_affine(affine, (z, y, x), spacing_known=not unknown, affine_unit=unit)


def _checked_shape(image: nibabel.Nifti1Image, channels: int | None) -> tuple[int, ...]:
    """(X, Y, Z), or (X, Y, Z, C) of several channels; axes of length 1 at the end do not count."""
    shape = tuple(int(length) for length in image.shape)
    axes = 3 if channels in (None, 1) else 4
    while len(shape) > axes and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != axes:
        raise DataError(
            f"has {len(shape)} axes ({by(shape)}), but {axes} are expected"
            + ("; save each frame or channel as a file of its own" if len(shape) > axes else "")
        )
    if axes == 4 and shape[3] != channels:
        raise DataError(f"has {shape[3]} channels, not {channels}")
    if min(shape) < 1:
        raise DataError(f"has no voxels ({by(shape)})")
    if math.prod(shape) > MAX_VOXELS:
        raise DataError(
            f"{by(shape)} is larger than {MAX_VOXELS} voxels, refused without decoding; crop the volume"
        )
    return shape
