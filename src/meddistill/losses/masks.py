"""Masks as numbers: ones and zeros in the type of what they multiply.

On a CPU torch compares into booleans, converts them and selects by them one element at a time. Among numbers
of one type the same is vectorised and takes a third to a tenth of the time; a GPU does not mind.
"""

from __future__ import annotations

import torch
from torch import Tensor

from meddistill.losses.checks import IGNORE_INDEX


def numbers(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A bool mask as ones and zeros of `dtype`.

    Example:
        >>> numbers(torch.tensor([True, False]), torch.float32)
        tensor([1., 0.])
    """
    return mask.view(torch.uint8).to(dtype)


def reaches(values: Tensor, bound: float) -> Tensor:
    """1 where `values` (any shape) are at or above `bound`, else 0; in their type, without a gradient.

    Example:
        >>> reaches(torch.tensor([0.2, 0.7, 0.9]), 0.7)
        tensor([0., 1., 1.])
    """
    return torch.ge(values.detach(), bound, out=torch.empty_like(values))


def keep(values: Tensor, mask: Tensor) -> Tensor:
    """`values` where the numeric `mask` is above 0, elsewhere 0 whatever they hold there, NaN included.

    Example:
        >>> keep(torch.tensor([3.0, float("nan")]), torch.tensor([1.0, 0.0]))
        tensor([3., 0.])
    """
    kept: Tensor = torch.ops.aten.threshold_backward(values, mask, 0)  # the gradient of ReLU is such a choice
    return kept


def targets(
    labels: Tensor, num_classes: int, dtype: torch.dtype, *, ignore_index: int = IGNORE_INDEX
) -> tuple[Tensor, Tensor]:
    """The class of each pixel, with 0 for the ignored ones, and which pixels are not ignored.

    Args:
        labels: any shape; 0..K-1 or `ignore_index`.
        num_classes: K.
        dtype: of what is returned.
        ignore_index: label of pixels that do not count.

    Returns:
        Classes, and a mask of ones and zeros, both of the shape of `labels`.

    Raises:
        RuntimeError: a label is none of the K classes; on a GPU it comes later, from the device.

    Example:
        >>> classes, mask = targets(torch.tensor([1, -100]), 2, torch.float32)
        >>> classes.long(), mask
        (tensor([1, 0]), tensor([1., 0.]))
    """
    target = labels.to(dtype, copy=True)
    known = torch.ne(target, ignore_index, out=torch.empty_like(target))
    target.mul_(known)
    if target.numel() and target.device.type in ("cpu", "cuda"):  # others cannot be asked without waiting
        least, most = target.aminmax()
        torch._assert_async(
            (least >= 0) & (most < num_classes),
            f"labels must lie in 0..{num_classes - 1} or be {ignore_index}",
        )
    return target, known
