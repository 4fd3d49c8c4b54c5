"""One DICOM series in a folder as a volume: slices in order, rescaled, on a grid in NIfTI's convention."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

from meddistill.data.volumes.geometry import Geometry, by
from meddistill.data.volumes.nifti import MAX_VOXELS, is_nifti
from meddistill.errors import DataError

Vector = npt.NDArray[np.float64]

_TAGS = [
    "SeriesInstanceUID",
    "SOPClassUID",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "SliceThickness",
]
_IGNORED = (".txt", ".json", ".csv", ".xml", ".pdf", ".md", ".png", ".jpg")
_RAS = np.diag([-1.0, -1.0, 1.0])
"""From DICOM's left, posterior, superior to right, anterior, superior."""


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """What the header of one slice says of its place."""

    file: Path
    series: str
    size: tuple[int, int]
    position: Vector
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    thickness: float

    @property
    def normal(self) -> Vector:
        """Unit vector across the slice."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def height(self) -> float:
        """Position along the normal, in mm."""
        return float(self.normal @ self.position)


@dataclass(frozen=True, eq=False)
class Series:
    """The files of one series in the order of their positions along the normal, and the grid they make."""

    files: tuple[Path, ...]
    geometry: Geometry


def series_of(folder: Path | str) -> Series:
    """The one series in `folder`, from headers alone.

    Raises:
        DataError: there are no DICOM files; a file is damaged, in colour, of several frames or without a
            position; or the slices are of several series, sizes or orientations, lie twice at one position,
            have a gap, or are larger than `MAX_VOXELS` together.
    """
    folder = Path(folder)
    headers = [_header(file) for file in _files(folder)]
    _check_one(folder, headers)
    rows, columns = headers[0].size
    shape = (len(headers), rows, columns)
    if math.prod(shape) > MAX_VOXELS:
        raise DataError(
            f"{folder}: {by(shape)} is larger than {MAX_VOXELS} voxels, refused without decoding; crop it"
        )
    headers.sort(key=lambda header: header.height)
    step = _step(folder, headers)
    try:
        geometry = Geometry.from_affine(_affine(headers[0], step), shape)
    except DataError as error:
        raise DataError(f"{folder}: {error}") from error
    return Series(tuple(header.file for header in headers), geometry)


def read_series(folder: Path | str) -> npt.NDArray[np.float32]:
    """The voxels (Z, Y, X) of the one series in `folder`, with rescale slope and intercept applied.

    Raises:
        DataError: as for `series_of`, or pixels that cannot be decoded.
    """
    series = series_of(folder)
    volume = np.empty(series.geometry.shape, dtype=np.float32)
    for place, file in enumerate(series.files):
        volume[place] = _pixels(file, volume.shape[1:])
    return volume


def _files(folder: Path) -> list[Path]:
    """What may be slices: everything but hidden files, NIfTI labels, `DICOMDIR` and notes."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be listed ({error.strerror})") from error
    files = [
        path
        for path in entries
        if path.is_file()
        and not path.name.startswith(".")
        and not is_nifti(path)
        and path.name.upper() != "DICOMDIR"
        and path.suffix.lower() not in _IGNORED
    ]
    if not files:
        raise DataError(f"{folder}: the folder holds no DICOM files")
    return files


def _header(file: Path) -> SliceHeader:
    with _read(file, specific_tags=_TAGS, stop_before_pixels=True) as header:
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise DataError("holds several frames; convert the series to NIfTI")
        if int(header.get("SamplesPerPixel") or 1) > 1:
            raise DataError("is in colour; a volume has one value per voxel")
        orientation = _numbers(header, "ImageOrientationPatient", 6)
        rows, columns = _numbers(header, "PixelSpacing", 2)
        return SliceHeader(
            file=file,
            series=str(header.get("SeriesInstanceUID", "")),
            size=(int(header["Rows"].value), int(header["Columns"].value)),
            position=np.array(_numbers(header, "ImagePositionPatient", 3)),
            orientation=orientation,
            spacing=(rows, columns),
            thickness=float(header.get("SliceThickness") or 1),
        )


def _numbers(header: pydicom.Dataset, keyword: str, count: int) -> tuple[float, ...]:
    value = header.get(keyword)
    if value is None or len(value) != count:
        raise DataError(f"has no {keyword}, so its place in the volume is not known; leave this file out")
    numbers = tuple(float(number) for number in value)
    if not all(math.isfinite(number) for number in numbers):
        raise DataError(f"{keyword} is not finite")
    return numbers


def _pixels(file: Path, size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    with _read(file) as slice_:
        pixels = slice_.pixel_array.astype(np.float32)
        if pixels.shape != size:
            raise DataError(f"the pixels are {by(pixels.shape)}, the header says {by(size)}")
        slope, intercept = slice_.get("RescaleSlope"), slice_.get("RescaleIntercept")
        pixels *= np.float32(1 if slope is None else slope)
        pixels += np.float32(0 if intercept is None else intercept)
        return pixels


@contextmanager
def _read(file: Path, **options: Any) -> Iterator[pydicom.Dataset]:
    """The data set of a file; whatever goes wrong, here or in the body, names the file."""
    try:
        if file.stat().st_size == 0:
            raise DataError("the file is empty (0 bytes)")
        yield pydicom.dcmread(file, **options)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    except pydicom.errors.InvalidDicomError as error:
        raise DataError(f"{file}: not a DICOM file; move it out of the folder of the series") from error
    except Exception as error:  # damaged files raise almost any type
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{file}: cannot be decoded ({reason}); the file is damaged, cut off or compressed: export it "
            "again without compression"
        ) from error


def _check_one(folder: Path, headers: Sequence[SliceHeader]) -> None:
    """Refuse slices that are not of one series, size, spacing and orientation."""
    kinds: dict[str, Callable[[SliceHeader], Any]] = {
        "series": lambda header: header.series,
        "sizes": lambda header: by(header.size),
        "orientations": lambda header: tuple(round(number, 3) + 0.0 for number in header.orientation),
        "pixel spacings": lambda header: tuple(round(number, 4) for number in header.spacing),
    }
    for kind, of in kinds.items():
        found = {of(header): header.file.name for header in headers}
        if len(found) > 1:
            names = " and ".join(list(found.values())[:2])
            raise DataError(
                f"{folder}: mixed series: {len(found)} {kind}, for example {names}; "
                "put each series into a folder of its own"
            )


def _step(folder: Path, headers: Sequence[SliceHeader]) -> Vector:
    """From one slice to the next, in DICOM's coordinates."""
    if len(headers) == 1:
        return headers[0].normal * headers[0].thickness
    gaps = np.diff([header.height for header in headers])
    twice = int(gaps.argmin())
    if gaps[twice] < 1e-3:
        names = f"{headers[twice].file.name} and {headers[twice + 1].file.name}"
        raise DataError(
            f"{folder}: {names} lie at one position; put each phase or copy into a folder of its own"
        )
    usual = float(np.quantile(gaps, 0.25, method="lower"))  # even where many slices are missing
    wide = int(gaps.argmax())
    if gaps[wide] > 1.5 * usual:
        missing = max(1, round(gaps[wide] / usual) - 1)
        raise DataError(
            f"{folder}: {missing} slice{'s' if missing > 1 else ''} missing between "
            f"{headers[wide].file.name} and {headers[wide + 1].file.name}: {gaps[wide]:.4g} mm apart, the "
            f"others {usual:.4g} mm; export the whole series again"
        )
    step: Vector = (headers[-1].position - headers[0].position) / (len(headers) - 1)
    for place, header in enumerate(headers):
        off = float(np.linalg.norm(headers[0].position + place * step - header.position))
        if off > 0.1 * usual:
            raise DataError(
                f"{folder}: the slices are not evenly spaced: {header.file.name} lies {off:.3g} mm off; "
                "resample the series to NIfTI"
            )
    return step


def _affine(first: SliceHeader, step: Vector) -> npt.NDArray[np.float64]:
    """Voxel (column, row, slice) to right, anterior, superior."""
    between_rows, between_columns = first.spacing
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * between_columns
    affine[:3, 1] = np.array(first.orientation[3:]) * between_rows
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    affine[:3] = _RAS @ affine[:3]
    return affine
