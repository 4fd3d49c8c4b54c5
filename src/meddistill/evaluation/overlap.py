"""Dice, IoU, precision and recall of integer label maps, all from one pass of counting.

Pixels whose label is `IGNORE_INDEX` take no part in any count. With P the predicted and L the labelled
pixels of a class: where both are empty every score is `both_empty`; a missed structure (only P empty) has
precision 0 and an invented one (only L empty) has recall 0, so that neither ever looks better than a poor
segmentation.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, DataError

Pixels = npt.NDArray[np.integer[Any]]

_FEW = 20
"""Classes up to which comparing a map with each class is faster on a CPU than sorting pixels into cells."""

_BLOCK = 2**16
"""Pixels that are compared with all classes at a time, so few that they stay in the cache."""


class OverlapCounts(NamedTuple):
    """Pixel counts per case and class, each (B, K) int64.

    Args:
        both: pixels that prediction and label both give to the class (true positives).
        predicted: pixels the prediction gives to the class.
        labelled: pixels the label gives to the class.
    """

    both: Tensor
    predicted: Tensor
    labelled: Tensor


def overlap_counts(prediction: Tensor, label: Tensor, *, num_classes: int) -> OverlapCounts:
    """Count the pixels of every class in prediction, label and both.

    Args:
        prediction: (B, *S) integer map with values 0..K-1, any number of spatial axes.
        label: (B, *S) integer map with values 0..K-1 or `IGNORE_INDEX`.
        num_classes: K, background included.

    Returns:
        Three (B, K) int64 tensors on the device of the maps.

    Raises:
        ConfigError: `num_classes` is below 1.
        DataError: shapes differ, a map is not integer, or a value is outside 0..K-1.

    Example:
        >>> counts = overlap_counts(torch.tensor([[0, 1, 1]]), torch.tensor([[1, 1, -100]]), num_classes=2)
        >>> [part.tolist() for part in counts]
        [[[0, 1]], [[1, 1]], [[0, 2]]]
    """
    _check_form(prediction, label, num_classes)
    compared = _is_compared(label, num_classes)
    if not compared:
        _check_values(prediction, label, num_classes)
    counts = count_overlap(prediction, label, num_classes=num_classes)
    if compared and min(int(part.sum()) for part in counts[1:]) < label.numel():
        # A pixel that equals no class is ignored, or wrong.
        _check_values(prediction, label, num_classes)
    return counts


def count_overlap(prediction: Tensor, label: Tensor, *, num_classes: int) -> OverlapCounts:
    """`overlap_counts` of maps that are known to be right: nothing is checked or read back from the device.

    Example:
        >>> counts = count_overlap(torch.tensor([[0, 1, 1]]), torch.tensor([[1, 1, -100]]), num_classes=2)
        >>> [part.tolist() for part in counts]
        [[[0, 1]], [[1, 1]], [[0, 2]]]
    """
    if _is_compared(label, num_classes):
        return _compare(prediction, label, num_classes)
    cells = num_classes**2
    cell = torch.where(label == IGNORE_INDEX, cells, label.long() * num_classes + prediction).flatten(1)
    confusion = cell.new_zeros((len(label), cells + 1)).scatter_add_(1, cell, torch.ones_like(cell))
    confusion = confusion[:, :-1].view(-1, num_classes, num_classes)
    return OverlapCounts(confusion.diagonal(dim1=1, dim2=2), confusion.sum(dim=1), confusion.sum(dim=2))


def _is_compared(label: Tensor, num_classes: int) -> bool:
    return label.is_cpu and num_classes <= _FEW


def _compare(prediction: Tensor, label: Tensor, num_classes: int) -> OverlapCounts:
    """`count_overlap` on a CPU; pixels with a value outside 0..K-1 are in no count."""
    count = _count_pixels if num_classes <= 2 else _count_foreground
    counts = np.zeros((3, len(label), num_classes), np.int64)
    for case, maps in enumerate(zip(prediction.flatten(1).numpy(), label.flatten(1).numpy(), strict=True)):
        for start in range(0, len(maps[0]), _BLOCK):
            predicted, labelled = (values[start : start + _BLOCK] for values in maps)
            counts[:, case] += count(predicted, labelled, num_classes)
    return OverlapCounts(*torch.from_numpy(counts))


def _count_foreground(predicted: Pixels, labelled: Pixels, num_classes: int) -> npt.NDArray[np.int64]:
    """`_count_pixels` that compares only what is foreground in either map: faster with several classes."""
    filled = (predicted != 0) | (labelled != 0)
    counts = _count_pixels(predicted[filled], labelled[filled], num_classes)
    counts[:, 0] += len(filled) - np.count_nonzero(filled)
    return counts


def _count_pixels(predicted: Pixels, labelled: Pixels, num_classes: int) -> npt.NDArray[np.int64]:
    """Both, predicted and labelled pixels of each class, (3, K), in two maps (N,)."""
    counts = np.empty((3, num_classes), np.int64)
    for value in range(num_classes):
        masks = predicted == value, labelled == value
        counts[:, value] = [np.count_nonzero(mask) for mask in (masks[0] & masks[1], *masks)]
    if counts[2].sum() < len(labelled) and not (known := labelled != IGNORE_INDEX).all():
        return _count_pixels(predicted[known], labelled[known], num_classes)
    return counts


def check_maps(prediction: Tensor, label: Tensor, num_classes: int) -> None:
    """Refuse a pair of label maps that cannot be compared.

    Raises:
        ConfigError: `num_classes` is below 1.
        DataError: shapes differ, a map is not integer, or a value is outside 0..K-1.

    Example:
        >>> check_maps(torch.tensor([[0, 1]]), torch.tensor([[0, 2]]), 2)
        Traceback (most recent call last):
        meddistill.errors.DataError: label has values 0..2, but 2 classes allow only 0..1 (or -100: ignored)
    """
    _check_form(prediction, label, num_classes)
    _check_values(prediction, label, num_classes)


def _check_form(prediction: Tensor, label: Tensor, num_classes: int) -> None:
    if num_classes < 1:
        raise ConfigError(f"num_classes is {num_classes}; it must be at least 1")
    for name, values in (("prediction", prediction), ("label", label)):
        if not isinstance(values, Tensor):
            raise DataError(f"{name} is a {type(values).__name__}, not a tensor; torch.as_tensor makes one")
        if values.is_floating_point() or values.is_complex():
            raise DataError(
                f"{name} is {values.dtype}, not an integer label map; take the argmax of logits first"
            )
    if prediction.shape != label.shape or label.ndim < 2:
        raise DataError(
            f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)} must both be (B, *S)"
        )


def _check_values(prediction: Tensor, label: Tensor, num_classes: int) -> None:
    for name, values in (("prediction", prediction), ("label", label)):
        if _within(values, num_classes):
            continue
        counted = values[label != IGNORE_INDEX]
        if not _within(counted, num_classes):
            raise DataError(
                f"{name} has values {int(counted.min())}..{int(counted.max())}, but {num_classes} classes "
                f"allow only 0..{num_classes - 1} (or {IGNORE_INDEX}: ignored)"
            )


def _within(values: Tensor, num_classes: int) -> bool:
    """Whether all values are in 0..K-1."""
    if not values.numel():
        return True
    if not values.is_cpu:
        return 0 <= int(values.min()) <= int(values.max()) < num_classes
    found = values.numpy()
    # Read without its sign, a negative number is a large one: one pass instead of two.
    return int(found.view(f"u{found.itemsize}").max()) < num_classes


def dice_score(
    prediction: Tensor,
    label: Tensor,
    *,
    num_classes: int,
    include_background: bool = False,
    both_empty: float = math.nan,
    smooth: float = 0.0,
) -> Tensor:
    """Dice coefficient 2|P∩L| / (|P| + |L|) of every case and class (Dice, Ecology 1945).

    Args:
        prediction: (B, *S) integer map.
        label: (B, *S) integer map; `IGNORE_INDEX` pixels are left out.
        num_classes: K, background included.
        include_background: give class 0 a column too.
        both_empty: value where the class is neither predicted nor labelled.
        smooth: added to numerator and denominator. The released P-CD code (Islam et al., IJCARS 2023) scores
            with 1e-4 and, in effect, `both_empty=1`.

    Returns:
        (B, K - 1) float64 in 0..1, or (B, K) with the background.

    Raises:
        DataError: maps that cannot be compared, see `check_maps`.

    Example:
        >>> dice_score(torch.tensor([[0, 1, 1, 1]]), torch.tensor([[0, 0, 1, 1]]), num_classes=2)
        tensor([[0.8000]], dtype=torch.float64)
    """
    counts = overlap_counts(prediction, label, num_classes=num_classes)
    return _classes(dice_from_counts(counts, both_empty, smooth), include_background)


def iou_score(
    prediction: Tensor,
    label: Tensor,
    *,
    num_classes: int,
    include_background: bool = False,
    both_empty: float = math.nan,
) -> Tensor:
    """Intersection over union |P∩L| / |P∪L| of every case and class (Jaccard, 1912).

    Args:
        prediction: (B, *S) integer map.
        label: (B, *S) integer map; `IGNORE_INDEX` pixels are left out.
        num_classes: K, background included.
        include_background: give class 0 a column too.
        both_empty: value where the class is neither predicted nor labelled.

    Returns:
        (B, K - 1) float64 in 0..1, or (B, K) with the background.

    Raises:
        DataError: maps that cannot be compared, see `check_maps`.

    Example:
        >>> iou_score(torch.tensor([[0, 1, 1, 1]]), torch.tensor([[0, 0, 1, 1]]), num_classes=2)
        tensor([[0.6667]], dtype=torch.float64)
    """
    counts = overlap_counts(prediction, label, num_classes=num_classes)
    return _classes(iou_from_counts(counts, both_empty), include_background)


def precision_score(
    prediction: Tensor,
    label: Tensor,
    *,
    num_classes: int,
    include_background: bool = False,
    both_empty: float = math.nan,
) -> Tensor:
    """Share |P∩L| / |P| of predicted pixels that are right; 0 for a missed structure.

    Arguments as in `iou_score`.

    Returns:
        (B, K - 1) float64 in 0..1, or (B, K) with the background.

    Raises:
        DataError: maps that cannot be compared, see `check_maps`.

    Example:
        >>> precision_score(torch.tensor([[0, 1, 1, 1]]), torch.tensor([[0, 0, 1, 1]]), num_classes=2)
        tensor([[0.6667]], dtype=torch.float64)
    """
    counts = overlap_counts(prediction, label, num_classes=num_classes)
    return _classes(precision_from_counts(counts, both_empty), include_background)


def recall_score(
    prediction: Tensor,
    label: Tensor,
    *,
    num_classes: int,
    include_background: bool = False,
    both_empty: float = math.nan,
) -> Tensor:
    """Share |P∩L| / |L| of labelled pixels that are found; 0 for an invented structure.

    Arguments as in `iou_score`.

    Returns:
        (B, K - 1) float64 in 0..1, or (B, K) with the background.

    Raises:
        DataError: maps that cannot be compared, see `check_maps`.

    Example:
        >>> recall_score(torch.tensor([[0, 1, 0, 0]]), torch.tensor([[0, 1, 1, 0]]), num_classes=2)
        tensor([[0.5000]], dtype=torch.float64)
    """
    counts = overlap_counts(prediction, label, num_classes=num_classes)
    return _classes(recall_from_counts(counts, both_empty), include_background)


def dice_from_counts(counts: OverlapCounts, both_empty: float = math.nan, smooth: float = 0.0) -> Tensor:
    """Dice (B, K) float64 from counts already made; arguments as in `dice_score`.

    Example:
        >>> dice_from_counts(OverlapCounts(*torch.tensor([[[2]], [[3]], [[2]]])))
        tensor([[0.8000]], dtype=torch.float64)
    """
    both, sizes = 2 * counts.both.double(), (counts.predicted + counts.labelled).double()
    return _ratio(both + smooth, sizes + smooth, counts, both_empty)


def iou_from_counts(counts: OverlapCounts, both_empty: float = math.nan) -> Tensor:
    """IoU (B, K) float64 from counts already made.

    Example:
        >>> iou_from_counts(OverlapCounts(*torch.tensor([[[2]], [[3]], [[2]]])))
        tensor([[0.6667]], dtype=torch.float64)
    """
    return _ratio(counts.both, counts.predicted + counts.labelled - counts.both, counts, both_empty)


def precision_from_counts(counts: OverlapCounts, both_empty: float = math.nan) -> Tensor:
    """Precision (B, K) float64 from counts already made; 0 for a missed structure.

    Example:
        >>> precision_from_counts(OverlapCounts(*torch.tensor([[[0]], [[0]], [[2]]])))
        tensor([[0.]], dtype=torch.float64)
    """
    return _ratio(counts.both, counts.predicted, counts, both_empty)


def recall_from_counts(counts: OverlapCounts, both_empty: float = math.nan) -> Tensor:
    """Recall (B, K) float64 from counts already made; 0 for an invented structure.

    Example:
        >>> recall_from_counts(OverlapCounts(*torch.tensor([[[0]], [[2]], [[0]]])))
        tensor([[0.]], dtype=torch.float64)
    """
    return _ratio(counts.both, counts.labelled, counts, both_empty)


def _ratio(numerator: Tensor, denominator: Tensor, counts: OverlapCounts, both_empty: float) -> Tensor:
    empty = (counts.predicted + counts.labelled) == 0
    return (numerator.double() / denominator.clamp(min=1)).masked_fill(empty, both_empty)


def _classes(scores: Tensor, include_background: bool) -> Tensor:
    return scores if include_background else scores[:, 1:]
