"""Where the voxels of a volume lie in the patient."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from meddistill.errors import DataError

LengthUnit = Literal["mm", "meter", "micron"]
_IN_MM: dict[LengthUnit, float] = {"mm": 1.0, "meter": 1000.0, "micron": 0.001}

Shape = tuple[int, int, int]
"""Voxels along Z, Y, X."""

_TOLERANCE = 0.1
"""Largest distance between corners of two grids that count as one, in voxels."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """The grid of a volume.

    Arrays are (Z, Y, X), that is (slices, rows, columns), the reverse of NIfTI's order; the affine stays in
    NIfTI's convention.

    Args:
        affine: (4, 4), maps voxel (x, y, z, 1) to the patient's right, anterior and superior (RAS).
        shape: voxels along Z, Y, X.
        spacing: size of a voxel along Z, Y, X in mm; None when the file does not know it.
        affine_unit: unit of the affine, as the file has it.

    Example:
        >>> geometry = Geometry.from_affine(np.diag([0.5, 0.7, 3.0, 1.0]), (10, 256, 216))
        >>> geometry.spacing, geometry.unit, geometry.orientation
        ((3.0, 0.7, 0.5), 'mm', 'RAS')
    """

    affine: npt.NDArray[np.float64]
    shape: Shape
    spacing: tuple[float, float, float] | None
    affine_unit: LengthUnit = "mm"

    @classmethod
    def from_affine(
        cls,
        affine: npt.ArrayLike,
        shape: Shape,
        *,
        spacing_known: bool = True,
        affine_unit: LengthUnit = "mm",
    ) -> Self:
        """The grid whose voxels are as large as `affine` says.

        Raises:
            DataError: the affine has no inverse or is not finite.
        """
        matrix = np.array(affine, dtype=np.float64)
        with np.errstate(all="ignore"):
            lengths = np.linalg.norm(matrix[:3, :3], axis=0) * _IN_MM[affine_unit]
            volume = abs(np.linalg.det(matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)))
        if not np.isfinite(matrix).all() or not lengths.all() or not volume > 1e-6:
            raise DataError("the affine has no inverse: voxels of size 0, or axes in one plane")
        x, y, z = (float(length) for length in lengths)
        return cls(matrix, shape, (z, y, x) if spacing_known else None, affine_unit)

    @property
    def unit(self) -> str | None:
        """`mm`, or None when the spacing is not known and distances are in voxels."""
        return None if self.spacing is None else "mm"

    @property
    def orientation(self) -> str:
        """Where x, y and z run to, for example `LPS`: the letters of NIfTI's axis codes."""
        from nibabel.orientations import aff2axcodes

        return "".join(aff2axcodes(self.affine))

    def corners(self) -> npt.NDArray[np.float64]:
        """Positions (8, 3) of the centres of the corner voxels."""
        ends = [(0, length - 1) for length in reversed(self.shape)]
        voxels = np.array([(*corner, 1) for corner in itertools.product(*ends)], dtype=np.float64)
        positions: npt.NDArray[np.float64] = (voxels @ self.affine.T)[:, :3]
        return positions * _IN_MM[self.affine_unit]

    def distance_to(self, other: Geometry) -> float:
        """Largest distance between equal corners of two grids of one shape, in voxels of this one.

        Example:
            >>> grid = Geometry.from_affine(np.diag([2, 2, 2, 1]), (5, 5, 5))
            >>> affine = np.diag([2, 2, 2, 1])
            >>> affine[0, 3] = 3
            >>> shifted = Geometry.from_affine(affine, (5, 5, 5))
            >>> grid.distance_to(shifted)
            1.5
        """
        voxel = np.linalg.norm(self.affine[:3, :3], axis=0).min() * _IN_MM[self.affine_unit]
        return float(np.linalg.norm(self.corners() - other.corners(), axis=1).max() / voxel)


def check_same_grid(label: Path, of_label: Geometry, image: Path, of_image: Geometry) -> None:
    """Refuse a label that does not lie on the grid of its image.

    Raises:
        DataError: it differs in shape, or its corners lie more than a tenth of a voxel off.
    """
    if of_label.shape != of_image.shape:
        raise DataError(
            f"{label}: the label is {by(of_label.shape)}, but its image {image.name} is {by(of_image.shape)} "
            "(slices x rows x columns); resample the label to the image's grid"
        )
    distance = of_image.distance_to(of_label)
    if not distance <= _TOLERANCE:
        raise DataError(
            f"{label}: the affine differs from that of its image {image.name} (orientation "
            f"{of_label.orientation} and {of_image.orientation}, corners up to {distance:.3g} voxels apart); "
            "resample the label to the image's grid, or correct its header"
        )


def by(shape: tuple[int, ...]) -> str:
    """A shape in words.

    Example:
        >>> by((10, 256, 216))
        '10 x 256 x 216'
    """
    return " x ".join(str(length) for length in shape)
