"""What ultrasound images suffer: speckle, a wrong gain, acoustic shadows.

B-mode images are log-compressed: grey levels are decibels, here `DYNAMIC_RANGE_DB` of them from black to
white. The first spatial axis is depth.
"""

from __future__ import annotations

import math

import numpy as np

from meddistill.data._speckle import DYNAMIC_RANGE_DB, smooth_noise
from meddistill.evaluation.corruptions.base import Changed, Corruption, Image

GRAIN = 1.0
"""Standard deviation of a grain of speckle, pixels."""

SPECKLE = (0.05, 0.08, 0.12, 0.17, 0.23)
"""Standard deviation of the speckle in white, by severity."""

GAIN_DB = (3.0, 6.0, 10.0, 14.0, 18.0)
"""How much the gain is too high or too low, decibels."""

SHADOW_WIDTH = (0.06, 0.09, 0.13, 0.17, 0.22)
"""Half the width of the shadow, as a share of the image."""

SHADOW_DEPTH = (0.50, 0.65, 0.80, 0.90, 0.96)
"""Share of the grey level that is lost in its middle."""


def speckle(image: Image, severity: int, rng: np.random.Generator) -> Changed:
    """From x to x + s sqrt(x) n with correlated Gaussian n: more noise where there is more echo.

    Loupas, McDicken, Allan, "An adaptive weighted median filter for speckle suppression in medical ultrasonic
    images" (IEEE Transactions on Circuits and Systems 1989) found this in log-compressed images. All channels
    get the same speckle.
    """
    size = image.shape[1:]
    noise = smooth_noise(rng, size, (GRAIN,) * len(size))
    return image + SPECKLE[severity - 1] * np.sqrt(image) * noise


def gain(image: Image, severity: int, rng: np.random.Generator) -> Changed:
    """A gain that is too high or too low (as drawn): grey levels move by its decibels, black stays black."""
    sign = rng.choice((-1, 1))
    moved: Changed = image + sign * GAIN_DB[severity - 1] / DYNAMIC_RANGE_DB * (image > 0)
    return moved


def shadow(image: Image, severity: int, rng: np.random.Generator) -> Changed:
    """A dark band below a place that lets no sound through; at every severity round the same middle."""
    rows, columns = (np.linspace(0, 1, n, dtype=np.float32) for n in image.shape[1:])
    middle, start = rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.4)
    across = np.exp(-(((columns - middle) / SHADOW_WIDTH[severity - 1]) ** 4) * math.log(2))
    onset = 1 / (1 + np.exp(-(rows - start) / 0.02))
    lost = SHADOW_DEPTH[severity - 1] * onset[:, None] * across[None]
    darker: Changed = image * (1 - lost)
    return darker


KINDS = (Corruption("speckle", speckle), Corruption("gain", gain), Corruption("shadow", shadow, dims=(2,)))
