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
import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, unknown_name
from meddistill.evaluation.boundary import Mask, boundary_distances, bounding_box
from meddistill.evaluation.overlap import check_maps

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
    first = 0 if include_background else 1
    pairs = np.full((len(label), num_classes - first, 2), both_empty)
    kind = torch.int8 if num_classes <= 128 else torch.int32
    maps = [values.to(kind).cpu().numpy() for values in (prediction, label)]
    for case, (predicted, labelled) in enumerate(zip(*maps, strict=True)):
        box = bounding_box((predicted >= first) | (labelled >= first))
        predicted, labelled = predicted[box], labelled[box]
        counted = labelled != IGNORE_INDEX
        for column in range(num_classes - first):
            masks = (predicted == column + first) & counted, labelled == column + first
            pairs[case, column] = _pair(*masks, sampling, both_empty, missing)
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
    there, back = boundary_distances(predicted, labelled, sampling)
    hd95 = max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))
    return hd95, float(np.concatenate([there, back]).mean())
