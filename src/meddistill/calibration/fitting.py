"""One way to fit any calibrator on held-out examples, and a record of what it did there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meddistill.calibration.calibrators import Calibrator, Temperature
from meddistill.calibration.class_temperature import fit_class_temperature
from meddistill.calibration.examples import Examples, mean_nll, without_images
from meddistill.calibration.local_temperature import fit_local_temperature
from meddistill.calibration.temperature import fit_temperature
from meddistill.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class Fitted:
    """A calibrator, and what it changes on the examples that it was fitted on.

    Args:
        kind: a name in `CALIBRATORS`.
        calibrator: ready to use.
        nll_before: mean negative log-likelihood per labelled pixel of the logits as they were, in nats.
        nll_after: the same behind the calibrator; not more.
    """

    kind: str
    calibrator: Calibrator
    nll_before: float
    nll_after: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        numbers = {"nll_before": self.nll_before, "nll_after": self.nll_after}
        return {"kind": self.kind, **self.calibrator.describe(), **numbers}


def fit_calibrator(kind: str, examples: Examples, *, seed: int = 0) -> Fitted:
    """Fit a calibrator by the negative log-likelihood.

    Args:
        kind: `temperature`, `class` or `local`, which needs maps.
        examples: held out from the training of the network; about ten passes are made for `temperature`, up
            to 50 for the others (see `Kept`).
        seed: of a calibrator that has weights.

    Raises:
        ConfigError: an unknown kind.
        DataError: no labelled pixel, or logits that are not finite or do not fit the labels.

    Example:
        >>> import torch
        >>> logits, labels = torch.tensor([[6.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])
        >>> fitted = fit_calibrator("temperature", lambda: [(torch.zeros(4, 1), logits, labels)])
        >>> round(fitted.calibrator.temperature, 3), fitted.nll_after < fitted.nll_before
        (5.461, True)
    """
    if kind not in CALIBRATORS:
        raise ConfigError(unknown_name("calibration", kind, CALIBRATORS))
    calibrator = CALIBRATORS[kind](examples, seed).eval()
    return Fitted(kind, calibrator, mean_nll(examples), mean_nll(examples, calibrator))


CALIBRATORS: Mapping[str, Callable[[Examples, int], Calibrator]] = {
    "temperature": lambda examples, _: Temperature(fit_temperature(without_images(examples)).temperature),
    "class": lambda examples, _: fit_class_temperature(without_images(examples)),
    "local": lambda examples, seed: fit_local_temperature(examples, seed=seed),
}
"""How each kind is fitted: from examples and a seed."""
