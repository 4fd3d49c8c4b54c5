"""Distances between the surfaces of predicted and labelled structures, in 2D and 3D.

Convention: the surface of a structure is those of its own pixels that touch (by a face) something outside
it, the edge of the image included. Distances run between pixel centres, from each surface pixel of one mask
to the nearest of the other. HD95 takes the 95th percentile (linear interpolation) in each direction and
then the larger; the average surface distance is the mean over the distances of both directions together.
Both agree with MONAI's `compute_hausdorff_distance(percentile=95)` and
`compute_average_surface_distance(symmetric=True)`; packages that weight surface elements by area, such as
DeepMind's surface-distance, give slightly different numbers. Pixels with label `IGNORE_INDEX` belong to no
structure, in label and prediction alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, unknown_name
from meddistill.evaluation.overlap import check_maps

Mask = npt.NDArray[np.bool_]
OneEmpty = Literal["diagonal", "nan", "inf"] | float


class SurfaceDistances(NamedTuple):
    """Surface distances per case and class, each (B, classes) float64.

    Args:
        hd95: 95th percentile Hausdorff distance.
        asd: symmetric average surface distance.
    """

    hd95: Tensor
    asd: Tensor


def surface_distances(
    prediction: Tensor,
    label: Tensor,
    *,
    num_classes: int,
    spacing: Sequence[float] | None = None,
    include_background: bool = False,
    both_empty: float = math.nan,
    one_empty: OneEmpty = "diagonal",
) -> SurfaceDistances:
    """HD95 and average surface distance of every case and class from one pair of distance transforms.

    Args:
        prediction: (B, *S) integer map.
        label: (B, *S) integer map; `IGNORE_INDEX` pixels belong to no structure.
        num_classes: K, background included.
        spacing: size of a pixel along each spatial axis in mm; None counts in pixels.
        include_background: give class 0 a column too.
        both_empty: value where the class is neither predicted nor labelled.
        one_empty: value of a missed or invented structure: `"diagonal"`, the diagonal of the whole image,
            longer than any distance within it; `"nan"`; `"inf"`; or a number in the unit of the result.

    Returns:
        Two (B, K - 1) tensors (B, K with the background) in mm when `spacing` is given, else in pixels.

    Raises:
        ConfigError: `spacing` does not fit the spatial axes or `one_empty` is unknown.
        DataError: maps that cannot be compared.

    Example:
        >>> prediction, label = torch.zeros(2, 1, 8, 8, dtype=torch.long)
        >>> prediction[0, 2:4, 2:4], label[0, 2:4, 4:6] = 1, 1
        >>> distances = surface_distances(prediction, label, num_classes=2)
        >>> distances.hd95.item(), distances.asd.item()
        (2.0, 1.5)
    """
    check_maps(prediction, label, num_classes)
    shape = tuple(label.shape[1:])
    sampling = _sampling(spacing, len(shape))
    missing = _one_empty_value(one_empty, shape, sampling)
    counted = (label != IGNORE_INDEX).cpu().numpy()
    predicted, labelled = prediction.cpu().numpy(), label.cpu().numpy()
    first = 0 if include_background else 1
    pairs = np.full((len(labelled), num_classes - first, 2), both_empty)
    for case, column in np.ndindex(*pairs.shape[:2]):
        masks = [values[case] == column + first for values in (predicted, labelled)]
        pairs[case, column] = _pair(masks[0] & counted[case], masks[1], sampling, both_empty, missing)
    return SurfaceDistances(torch.from_numpy(pairs[..., 0]), torch.from_numpy(pairs[..., 1]))


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


def _pair(
    predicted: Mask, labelled: Mask, sampling: tuple[float, ...], both_empty: float, one_empty: float
) -> tuple[float, float]:
    """(HD95, ASD) of two masks (*S)."""
    present = bool(predicted.any()), bool(labelled.any())
    if not any(present):
        return both_empty, both_empty
    if not all(present):
        return one_empty, one_empty
    box = _bounding_box(predicted | labelled)
    surfaces = [_surface(mask[box]) for mask in (predicted, labelled)]
    there = _distances(surfaces[0], surfaces[1], sampling)
    back = _distances(surfaces[1], surfaces[0], sampling)
    hd95 = max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))
    return hd95, float(np.concatenate([there, back]).mean())


def _bounding_box(mask: Mask) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


def _surface(mask: Mask) -> Mask:
    from scipy.ndimage import binary_erosion

    surface: Mask = mask & ~binary_erosion(mask)
    return surface


def _distances(source: Mask, target: Mask, sampling: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Distance from each pixel of `source` to the nearest one of `target`.

    Only the places of the nearest pixels are kept for the whole image: distances of every pixel, and what it
    takes to find them, would need ten times the memory.
    """
    from scipy.ndimage import distance_transform_edt

    places = distance_transform_edt(~target, sampling=sampling, return_distances=False, return_indices=True)
    apart = (places[:, source] - np.stack(np.nonzero(source))).astype(np.float64)
    apart *= np.array(sampling)[:, None]
    distances: npt.NDArray[np.float64] = np.sqrt(np.square(apart).sum(axis=0))
    return distances
