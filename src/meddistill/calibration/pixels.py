"""One pass over the labelled pixels of held-out data, whatever their shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import DataError
from meddistill.evaluation.proper_scores import two_classes

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Starts a new pass over (logits (B, K, *S), labels (B, *S))."""


def labelled_pixels(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """For each batch the logits (K, N) float32 and labels (N,) of its labelled pixels.

    Args:
        batches: called once. Labels (B, K) with 0 and 1 do not exclude each other: each counts as a pixel
            with two classes, whose logits are 0 and its own.

    Raises:
        DataError: logits and labels do not fit each other, no labelled pixel, or logits that are not finite.

    Example:
        >>> import torch
        >>> logits, labels = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, IGNORE_INDEX])
        >>> [(z.tolist(), y.tolist()) for z, y in labelled_pixels(lambda: [(logits, labels)])]
        [([[1.0], [2.0]], [1])]
    """
    seen = 0
    for logits, labels in batches():
        if labels.ndim == logits.ndim == 2:
            logits = two_classes(logits)
        _check_shapes(logits, labels)
        labels = labels.to(logits.device)
        known = (labels != IGNORE_INDEX).flatten()
        flat = logits.detach().float().movedim(1, 0).flatten(1)[:, known]
        labelled = labels.flatten()[known].long()
        seen += len(labelled)
        if len(labelled) == 0:
            continue
        _check_values(flat, labelled)
        yield flat, labelled
    if not seen:
        raise DataError("nothing to calibrate on: a pass over the held-out data gave no labelled pixel")


def _check_shapes(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim < 2 or logits.shape[1] < 2 or labels.shape != (*logits.shape[:1], *logits.shape[2:]):
        raise DataError(
            f"logits of shape {tuple(logits.shape)} do not fit labels of shape {tuple(labels.shape)}; "
            "give (B, K, *S) with K of 2 or more, and (B, *S)"
        )


def _check_values(logits: Tensor, labels: Tensor) -> None:
    if not bool(logits.isfinite().all()):
        raise DataError("the logits hold NaN or infinity; they cannot be calibrated")
    if int(labels.min()) < 0 or int(labels.max()) >= len(logits):
        raise DataError(
            f"label values {int(labels.min())} to {int(labels.max())} do not fit the {len(logits)} classes "
            "of the logits"
        )
