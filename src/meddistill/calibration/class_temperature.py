"""Fitting a temperature for each class."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from meddistill.calibration.calibrators import ClassTemperature
from meddistill.calibration.pixels import Batches, labelled_pixels
from meddistill.calibration.temperature import TEMPERATURE_RANGE, fit_temperature

_STEPS = 30
"""Iterations of LBFGS; about as many passes over the data, or a few more."""


def fit_class_temperature(batches: Batches) -> ClassTemperature:
    """Fit the temperatures by the negative log-likelihood, from one temperature for all classes.

    LBFGS with strong-Wolfe line search on the logarithms of the temperatures. Each evaluation is a pass over
    the data that keeps sums alone.

    Args:
        batches: as for `fit_temperature`, with classes that exclude each other.

    Returns:
        Temperatures whose likelihood on the data is not worse than that of the best single one.

    Raises:
        DataError: as by `fit_temperature`.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]] * 4 + [[0.0, 2.0]] * 4)
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
        >>> fitted = fit_class_temperature(lambda: [(logits, labels)])
        >>> fitted(logits, logits).softmax(1)[[0, 4], 1].round(decimals=2)
        tensor([0.2500, 1.0000])
    """
    start = fit_temperature(batches).temperature
    classes = len(next(labelled_pixels(batches))[0])
    logs = torch.full((classes,), math.log(start), dtype=torch.float64, requires_grad=True)
    low, high = map(math.log, TEMPERATURE_RANGE)
    optimiser = torch.optim.LBFGS([logs], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        total, pixels = torch.zeros((), dtype=torch.float64), 0
        for loss, count in _losses(batches, logs):
            loss.backward()  # type: ignore[no-untyped-call]
            total, pixels = total + loss.detach().cpu(), pixels + count
        assert logs.grad is not None
        logs.grad /= pixels
        return total / pixels

    before = float(closure())
    optimiser.step(closure)  # type: ignore[no-untyped-call]
    found = logs.detach().clamp(low, high)
    better = bool(found.isfinite().all()) and float(closure()) <= before
    return ClassTemperature((found if better else torch.full_like(found, math.log(start))).exp())


def _losses(batches: Batches, logs: Tensor) -> Iterator[tuple[Tensor, int]]:
    """For each batch the sum of the negative log-likelihoods under log-temperatures (K,), and its pixels."""
    low, high = map(math.log, TEMPERATURE_RANGE)
    for logits, labels in labelled_pixels(batches):
        temperatures = logs.clamp(low, high).exp().to(logits.device)
        scaled = logits.log_softmax(dim=0).T.to(temperatures.dtype) / temperatures
        yield F.cross_entropy(scaled, labels, reduction="sum"), len(labels)
