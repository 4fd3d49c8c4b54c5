"""Distances between the surfaces of predicted and labelled structures, in 2D and 3D.

Convention: the surface of a structure is those of its own pixels that touch (by a face) something outside
it, the edge of the image included. Distances run between pixel centres, from each surface pixel of one mask
to the nearest of the other. HD95 takes the 95th percentile (linear interpolation) in each direction and
then the larger; the average surface distance is the mean over the distances of both directions together.
The normalised surface Dice is the share of those distances that are within a tolerance. All three agree with
MONAI's `compute_hausdorff_distance(percentile=95)`, `compute_average_surface_distance(symmetric=True)` and
`compute_surface_dice`; packages that weight surface elements by area, such as DeepMind's surface-distance,
give slightly different numbers. Pixels with label `IGNORE_INDEX` belong to no structure, in label and
prediction alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, unknown_name
from meddistill.evaluation.boundary import Distances, Mask, boundary_distances, bounding_box
from meddistill.evaluation.overlap import check_maps

Map = npt.NDArray[np.signedinteger[Any]]
OneEmpty = Literal["diagonal", "nan", "inf"] | float

NSD_TOLERANCE = 2.0
"""Distance up to which a boundary is right in score tables: 2 mm, or 2 px where the spacing is unknown."""

_ROUNDING = 1e-6
"""Share by which a distance may exceed the tolerance: spacings in files have seven digits."""


class SurfaceDistances(NamedTuple):
    """Surface distances per case and class, each (B, classes) float64.

    Args:
        hd95: 95th percentile Hausdorff distance.
        asd: symmetric average surface distance.
        nsd: normalised surface Dice, 0..1; NaN where the class is neither predicted nor labelled, 0 where it
            is only one of them.
    """

    hd95: Tensor
    asd: Tensor
    nsd: Tensor


def surface_distances(
    prediction: Tensor,
    label: Tensor,
    *,
    num_classes: int,
    spacing: Sequence[float] | None = None,
    include_background: bool = False,
    both_empty: float = math.nan,
    one_empty: OneEmpty = "diagonal",
    tolerance: float | Sequence[float] = NSD_TOLERANCE,
) -> SurfaceDistances:
    """HD95, average surface distance and normalised surface Dice of every case and class, from one pass.

    Args:
        prediction: (B, *S) integer map.
        label: (B, *S) integer map; `IGNORE_INDEX` pixels belong to no structure.
        num_classes: K, background included.
        spacing: size of a pixel along each spatial axis in mm; None counts in pixels.
        include_background: give class 0 a column too.
        both_empty: value of the two distances where the class is neither predicted nor labelled.
        one_empty: value of the two for a missed or invented structure: `"diagonal"`, the diagonal of the
            whole image, longer than any distance within it; `"nan"`; `"inf"`; or a number in the unit of the
            result.
        tolerance: distance up to which a boundary is right, one for all columns or one for each.

    Returns:
        Three (B, K - 1) tensors (B, K with the background); distances in mm when `spacing` is given, else in
        pixels.

    Raises:
        ConfigError: `spacing` does not fit the spatial axes, `one_empty` is unknown or `tolerance` is no
            distance.
        DataError: maps that cannot be compared.

    Example:
        >>> prediction, label = torch.zeros(2, 1, 8, 8, dtype=torch.long)
        >>> prediction[0, 2:4, 2:4], label[0, 2:4, 4:6] = 1, 1
        >>> distances = surface_distances(prediction, label, num_classes=2)
        >>> distances.hd95.item(), distances.asd.item(), distances.nsd.item()
        (2.0, 1.5, 1.0)
    """
    check_maps(prediction, label, num_classes)
    shape = tuple(label.shape[1:])
    sampling = _sampling(spacing, len(shape))
    missing = _one_empty_value(one_empty, shape, sampling)
    first = 0 if include_background else 1
    scores = np.empty((len(label), num_classes - first, 3))
    tolerances = _tolerances(tolerance, num_classes - first)
    kind = torch.int8 if num_classes <= 128 else torch.int32
    maps = [values.to(kind).cpu().numpy() for values in (prediction, label)]
    for case, (predicted, labelled) in enumerate(zip(*maps, strict=True)):
        for column, masks in enumerate(_structures(predicted, labelled, range(first, num_classes))):
            present = [bool(mask.any()) for mask in masks]
            if all(present):
                scores[case, column] = _scores(*boundary_distances(*masks, sampling), tolerances[column])
            elif any(present):
                scores[case, column] = missing, missing, 0.0
            else:
                scores[case, column] = both_empty, both_empty, math.nan
    return SurfaceDistances(*torch.from_numpy(scores).unbind(-1))


def hausdorff95(
    prediction: Tensor,
    label: Tensor,
    *,
    num_classes: int,
    spacing: Sequence[float] | None = None,
    include_background: bool = False,
    both_empty: float = math.nan,
    one_empty: OneEmpty = "diagonal",
) -> Tensor:
    """95th percentile Hausdorff distance of every case and class.

    Arguments and errors as in `surface_distances`.

    Returns:
        (B, K - 1) float64 in mm when `spacing` is given, else in pixels; (B, K) with the background.

    Example:
        >>> prediction, label = torch.zeros(2, 1, 8, 8, dtype=torch.long)
        >>> prediction[0, 2:4, 2:4], label[0, 2:4, 4:6] = 1, 1
        >>> hausdorff95(prediction, label, num_classes=2, spacing=(1.0, 0.5)).item()
        1.0
        >>> hausdorff95(torch.zeros_like(label), label, num_classes=2).item() == (8**2 + 8**2) ** 0.5
        True
    """
    return surface_distances(
        prediction,
        label,
        num_classes=num_classes,
        spacing=spacing,
        include_background=include_background,
        both_empty=both_empty,
        one_empty=one_empty,
    ).hd95


def average_surface_distance(
    prediction: Tensor,
    label: Tensor,
    *,
    num_classes: int,
    spacing: Sequence[float] | None = None,
    include_background: bool = False,
    both_empty: float = math.nan,
    one_empty: OneEmpty = "diagonal",
) -> Tensor:
    """Symmetric average surface distance of every case and class.

    Arguments and errors as in `surface_distances`.

    Returns:
        (B, K - 1) float64 in mm when `spacing` is given, else in pixels; (B, K) with the background.

    Example:
        >>> prediction, label = torch.zeros(2, 1, 8, 8, dtype=torch.long)
        >>> prediction[0, 2:4, 2:4], label[0, 2:4, 4:6] = 1, 1
        >>> average_surface_distance(prediction, label, num_classes=2).item()
        1.5
    """
    return surface_distances(
        prediction,
        label,
        num_classes=num_classes,
        spacing=spacing,
        include_background=include_background,
        both_empty=both_empty,
        one_empty=one_empty,
    ).asd


def normalised_surface_dice(
    prediction: Tensor,
    label: Tensor,
    *,
    num_classes: int,
    tolerance: float | Sequence[float] = NSD_TOLERANCE,
    spacing: Sequence[float] | None = None,
    include_background: bool = False,
    both_empty: float = math.nan,
) -> Tensor:
    """Share of the surface pixels of both masks that lie within a tolerance of the other surface.

    The surface Dice of Nikolov et al. (arXiv:1809.04430, section on metrics; JMIR 2021), with each surface
    pixel counted once, as MONAI's `compute_surface_dice` does. A missed or invented structure has 0.

    Args:
        prediction: (B, *S) integer map.
        label: (B, *S) integer map; `IGNORE_INDEX` pixels belong to no structure.
        num_classes: K, background included.
        tolerance: distance up to which a boundary is right, in mm when `spacing` is given, else in pixels;
            one for all columns, or one for each. A good one is how far apart two experts draw the structure.
        spacing: size of a pixel along each spatial axis in mm; None counts in pixels.
        include_background: give class 0 a column too.
        both_empty: value where the class is neither predicted nor labelled.

    Returns:
        (B, K - 1) float64 in 0..1; (B, K) with the background.

    Raises:
        ConfigError: `spacing` does not fit the spatial axes or `tolerance` is no distance.
        DataError: maps that cannot be compared.

    Example:
        >>> prediction, label = torch.zeros(2, 1, 8, 8, dtype=torch.long)
        >>> prediction[0, 2:4, 2:4], label[0, 2:4, 4:6] = 1, 1
        >>> normalised_surface_dice(prediction, label, num_classes=2, tolerance=1).item()
        0.5
    """
    scores = surface_distances(
        prediction,
        label,
        num_classes=num_classes,
        spacing=spacing,
        include_background=include_background,
        tolerance=tolerance,
    )
    return scores.nsd.nan_to_num(both_empty)


def _sampling(spacing: Sequence[float] | None, dims: int) -> tuple[float, ...]:
    sampling = (1.0,) * dims if spacing is None else tuple(float(size) for size in spacing)
    if len(sampling) != dims or not all(0 < size < math.inf for size in sampling):
        raise ConfigError(f"spacing {sampling} must hold {dims} positive numbers, one for each spatial axis")
    return sampling


def _one_empty_value(one_empty: OneEmpty, shape: tuple[int, ...], sampling: tuple[float, ...]) -> float:
    if not isinstance(one_empty, str):
        return float(one_empty)
    if one_empty == "diagonal":
        return math.hypot(*(length * size for length, size in zip(shape, sampling, strict=True)))
    if one_empty not in ("nan", "inf"):
        raise ConfigError(unknown_name("one_empty policy", one_empty, ("diagonal", "nan", "inf")))
    return float(one_empty)


def _tolerances(tolerance: float | Sequence[float], columns: int) -> npt.NDArray[np.float64]:
    found = np.asarray(tolerance, np.float64)
    if found.ndim == 0:
        found = np.full(columns, found)
    if found.shape != (columns,) or not (np.isfinite(found) & (found >= 0)).all():
        raise ConfigError(
            f"tolerance {tolerance} must be one distance of 0 or more, or {columns}, one per column"
        )
    return found


def _structures(predicted: Map, labelled: Map, values: range) -> Iterator[tuple[Mask, Mask]]:
    """Both masks of each class in two maps (*S), cut out by the box round all of them."""
    box = bounding_box((predicted >= values.start) | (labelled >= values.start))
    predicted, labelled = predicted[box], labelled[box]
    counted = labelled != IGNORE_INDEX
    for value in values:
        yield (predicted == value) & counted, labelled == value


def _scores(there: Distances, back: Distances, tolerance: float) -> tuple[float, float, float]:
    """HD95, ASD and NSD from the distances of both directions."""
    hd95 = max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))
    both = np.concatenate([there, back])
    return hd95, float(both.mean()), float(np.mean(both <= tolerance * (1 + _ROUNDING)))
