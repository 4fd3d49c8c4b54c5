"""What magnetic resonance images suffer: an uneven coil, motion, and the noise of magnitude images.

All three work on slices and on volumes. The phase-encoding axis of `motion_ghosting` is the last but one.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.polynomial import legendre

from meddistill.evaluation.corruptions.base import Changed, Corruption, Image

BIAS = (0.3, 0.5, 0.8, 1.2, 1.6)
"""Largest logarithm of the bias field, by severity: 0.5 is 65 % too bright or 39 % too dark."""

BIAS_DEGREE = 3
"""Degree of the polynomial whose exponential the field is."""

MOTION = (0.003, 0.006, 0.010, 0.015, 0.022)
"""Amplitude of the motion, as a share of the field of view."""

NOISE = (0.03, 0.06, 0.10, 0.15, 0.22)
"""Standard deviation of each channel's noise, white being 1."""


def bias_field(image: Image, severity: int, rng: np.random.Generator) -> Changed:
    """The image times exp(p), p a random Legendre polynomial of degree 3 with a given largest size.

    Van Leemput et al., "Automated model-based bias field correction of MR images of the brain" (IEEE TMI
    1999), section II: the logarithm of the field is a low-order polynomial.
    """
    size = image.shape[1:]
    shape = (BIAS_DEGREE + 1,) * len(size)
    coefficients = rng.standard_normal(shape)
    for powers in product(range(BIAS_DEGREE + 1), repeat=len(size)):
        if not 0 < sum(powers) <= BIAS_DEGREE:
            coefficients[powers] = 0
    field: Changed = coefficients
    for length in size:  # the axis of its coefficients goes first and comes back last
        basis = legendre.legvander(np.linspace(-1, 1, length), BIAS_DEGREE)
        field = np.tensordot(field, basis, axes=(0, 1))
    uneven: Changed = image * np.exp(field * (BIAS[severity - 1] / np.abs(field).max()))
    return uneven


def motion_ghosting(image: Image, severity: int, rng: np.random.Generator) -> Changed:
    """Periodic motion while the lines of k-space are measured, one after the other.

    A shift by d multiplies line k by exp(-2 pi i k d), and d swings as breathing does: ghosts appear along
    the phase-encoding axis, at distances that the period sets (Wood and Henkelman, "MR image artifacts from
    periodic motion", Medical Physics 1985).
    """
    axis, lines = image.ndim - 2, image.shape[-2]
    cycles, phase = rng.uniform(lines / 12, lines / 5), rng.uniform(0, 2 * np.pi)
    swing = MOTION[severity - 1] * np.sin(2 * np.pi * cycles * np.arange(lines) / lines + phase)
    order = np.arange(lines) - lines // 2  # lines are measured from one edge of k-space to the other
    turned = np.fft.ifftshift(np.exp(-2j * np.pi * order * swing))
    spectrum = np.fft.fft(image, axis=axis) * turned[:, None]
    magnitude: Changed = np.abs(np.fft.ifft(spectrum, axis=axis))
    return magnitude


def rician_noise(image: Image, severity: int, rng: np.random.Generator) -> Changed:
    """The magnitude of x + n1 + i n2 with Gaussian n1, n2.

    Gudbjartsson and Patz, "The Rician distribution of noisy MRI data" (Magnetic Resonance in Medicine 1995).
    """
    real, imaginary = NOISE[severity - 1] * rng.standard_normal((2, *image.shape), dtype=np.float32)
    magnitude: Changed = np.hypot(image + real, imaginary)
    return magnitude


KINDS = (
    Corruption("bias_field", bias_field),
    Corruption("motion_ghosting", motion_ghosting),
    Corruption("rician_noise", rician_noise),
)
