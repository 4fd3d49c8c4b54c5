"""Running means that stay on the device until somebody reads them."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class WeightedMean(Metric):
    """Mean of values with weights, over all training processes; `update` reads nothing back from the device.

    torchmetrics' own `MeanMetric` either looks for NaN, which waits for the device, or (with
    `nan_strategy="disable"`) leaves out the weights. Here a NaN makes the mean NaN.

    Example:
        >>> mean = WeightedMean()
        >>> mean.update(torch.tensor(1.0), weight=3)
        >>> mean.update(torch.tensor([2.0, 5.0]), weight=torch.tensor([1.0, 0.0]))
        >>> mean.compute()
        tensor(1.2500)
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: Tensor | float = 1.0) -> None:
        """Take in `value`, of any shape; `weight` is one number or one for each value."""
        self.total += (value * weight).sum()
        self.weight += weight.sum() if isinstance(weight, Tensor) else weight * value.numel()

    def compute(self) -> Tensor:
        """The mean so far, a scalar; NaN before the first value."""
        return self.total / self.weight
