"""Fitting a temperature for each pixel."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from meddistill.calibration.calibrators import LocalTemperature
from meddistill.calibration.examples import Examples, mean_nll, without_images
from meddistill.calibration.temperature import fit_temperature
from meddistill.data.case import IGNORE_INDEX


def fit_local_temperature(
    examples: Examples, *, epochs: int = 20, lr: float = 0.01, seed: int = 0
) -> LocalTemperature:
    """Fit a `LocalTemperature` by the negative log-likelihood, from one temperature for all pixels.

    Adam, as in the paper; the step falls linearly to 0.

    Args:
        examples: images (B, C, *S) with logits (B, K, *S) and labels (B, *S) of 2 or 3 axes *S.
        epochs: passes over them.
        lr: step size at the beginning.
        seed: of the first weights.

    Returns:
        A calibrator whose likelihood on the examples is not worse than that of the best single temperature.

    Raises:
        DataError: no labelled pixel, or logits that are not finite or do not fit the labels.

    Example:
        >>> image, labels = torch.rand(2, 1, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long)
        >>> logits = torch.stack([torch.ones(2, 8, 8), image[:, 0]], dim=1)
        >>> fitted = fit_local_temperature(lambda: [(image, logits, labels)], epochs=1)
        >>> fitted.map(logits, image).shape
        torch.Size([2, 1, 8, 8])
    """
    temperature = fit_temperature(without_images(examples)).temperature
    start = _made(examples, temperature, seed)
    local = _trained(_made(examples, temperature, seed), examples, epochs, lr)
    with torch.no_grad():
        better = mean_nll(examples, local) <= mean_nll(examples, start)
    return (local if better else start).requires_grad_(False)


def _made(examples: Examples, temperature: float, seed: int) -> LocalTemperature:
    """A network for these examples with its first weights, on their device."""
    image, logits, _ = next(iter(examples()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        local = LocalTemperature(
            temperature, num_classes=logits.shape[1], in_channels=image.shape[1], dims=image.ndim - 2
        )
    return local.to(logits.device)


def _trained(local: LocalTemperature, examples: Examples, epochs: int, lr: float) -> LocalTemperature:
    optimiser = torch.optim.Adam(local.parameters(), lr=lr)
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = lr * (1 - epoch / epochs)
        for image, logits, labels in examples():
            if not bool((labels != IGNORE_INDEX).any()):
                continue
            optimiser.zero_grad()
            loss = F.cross_entropy(local(logits, image), labels, ignore_index=IGNORE_INDEX)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return local
