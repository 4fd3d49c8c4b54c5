"""What is fitted on held-out data: modules that map logits, and the images they belong to, to honest ones."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
LOCAL_RANGE = 4.0
"""How far a local temperature may be from the one of the whole set, as a factor."""
_WIDTH = 16
_LEAST_LOG = -20.0
"""Log-probability below which a network that looks at logits sees no difference."""


class Calibrator(nn.Module, ABC):
    """From logits (B, K, *S) and images (B, C, *S) to calibrated logits (B, K, *S)."""

    @abstractmethod
    def forward(self, logits: Tensor, image: Tensor) -> Tensor:
        """Calibrated logits."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain values for JSON: what was fitted."""

    def options(self) -> dict[str, Any]:
        """Arguments, plain values, with which the class builds one like it but for trained weights."""
        return self.describe()


class Temperature(Calibrator):
    """One temperature T divides all logits (Guo et al., ICML 2017, equation 9); no answer changes.

    Args:
        temperature: T.

    Example:
        >>> Temperature(2.0)(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 1))
        tensor([[1., 0.]])
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, logits: Tensor, image: Tensor) -> Tensor:  # noqa: ARG002 - one number for all images
        """Logits over T."""
        return logits / self.temperature

    def describe(self) -> dict[str, Any]:
        """The temperature."""
        return {"temperature": self.temperature}


class ClassTemperature(Calibrator):
    """A temperature for each class: its log-probability is divided by it, then all are normalised again.

    It is vector scaling (Guo et al., ICML 2017, section 4.2) without an offset. The logits are normalised
    first, so that a number added to all of them, which softmax does not see, changes nothing here either.
    With equal temperatures it is temperature scaling; with others the answer at a pixel may change.

    Args:
        temperatures: (K,) above 0.

    Example:
        >>> halved = ClassTemperature(torch.tensor([2.0, 2.0]))
        >>> halved(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 1)).softmax(1).round(decimals=4)
        tensor([[0.7311, 0.2689]])
    """

    temperatures: Tensor

    def __init__(self, temperatures: Tensor | Sequence[float]) -> None:
        super().__init__()
        values = torch.as_tensor(temperatures, dtype=torch.float32)
        self.register_buffer("temperatures", values.detach().clone())

    def forward(self, logits: Tensor, image: Tensor) -> Tensor:  # noqa: ARG002 - the same for all images
        """Log-probabilities over the temperatures of their classes."""
        shape = (-1, *(1,) * (logits.ndim - 2))
        return logits.log_softmax(dim=1) / self.temperatures.view(shape)

    def describe(self) -> dict[str, Any]:
        """The temperatures, in the order of the classes."""
        return {"temperatures": self.temperatures.tolist()}


class LocalTemperature(Calibrator):
    """A temperature for each pixel, found by a small network that sees logits and image; no answer changes.

    Source: Ding et al., "Local Temperature Scaling for Probability Calibration" (ICCV 2021), section 3.3.
    Three plain convolutions stand in for the paper's tree of them. The temperature is `temperature` times a
    factor between 1/4 and 4, which is 1 everywhere before anything is fitted.

    Args:
        temperature: that of the whole set.
        num_classes: K.
        in_channels: C of the images.
        dims: axes of the images, 2 or 3.

    Example:
        >>> local = LocalTemperature(2.0, num_classes=2, in_channels=1, dims=2)
        >>> logits = torch.randn(1, 2, 8, 8)
        >>> torch.equal(local(logits, torch.rand(1, 1, 8, 8)), logits / 2)
        True
    """

    def __init__(self, temperature: float, *, num_classes: int, in_channels: int, dims: int) -> None:
        super().__init__()
        self.temperature = temperature
        self._shape = {"num_classes": num_classes, "in_channels": in_channels, "dims": dims}
        convolution = CONVOLUTIONS[dims]
        last = convolution(_WIDTH, 1, kernel_size=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.network = nn.Sequential(
            convolution(num_classes + in_channels, _WIDTH, kernel_size=5, padding=2),
            nn.ReLU(),
            convolution(_WIDTH, _WIDTH, kernel_size=5, padding=2),
            nn.ReLU(),
            last,
        )

    def forward(self, logits: Tensor, image: Tensor) -> Tensor:
        """Logits over the temperatures of their pixels."""
        return logits / self.map(logits, image)

    def map(self, logits: Tensor, image: Tensor) -> Tensor:
        """The temperature of each pixel (B, 1, *S)."""
        logs = logits.detach().log_softmax(dim=1).clamp_min(_LEAST_LOG)
        seen = self.network(torch.cat([logs, image.to(logs.dtype)], dim=1))
        factor: Tensor = (math.log(LOCAL_RANGE) * seen.tanh()).exp()
        return self.temperature * factor

    def describe(self) -> dict[str, Any]:
        """The temperature of the whole set and the number of weights."""
        return {"temperature": self.temperature, "weights": sum(p.numel() for p in self.parameters())}

    def options(self) -> dict[str, Any]:
        """All arguments."""
        return {"temperature": self.temperature, **self._shape}


class Calibrated(nn.Module):
    """A network with a calibrator behind it: images (B, C, *S) to calibrated logits (B, K, *S).

    Args:
        network: answers with logits.
        calibrator: fitted for it.

    Example:
        >>> Calibrated(nn.Identity(), Temperature(2.0))(torch.tensor([[2.0, 0.0]]))
        tensor([[1., 0.]])
    """

    def __init__(self, network: nn.Module, calibrator: Calibrator) -> None:
        super().__init__()
        self.network, self.calibrator = network, calibrator

    def forward(self, image: Tensor) -> Tensor:
        """Calibrated logits."""
        logits: Tensor = self.calibrator(self.network(image).float(), image)
        return logits
