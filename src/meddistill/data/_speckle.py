"""The pieces of a synthetic B-mode image: smooth noise, tissue, lesions, speckle and log compression.

Every function works in 2D and 3D. The first spatial axis is depth (along the beam), the others are lateral.
Lengths are fractions of the field's depth, echo levels are decibels; coordinates run from 0 to 1 in depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

DYNAMIC_RANGE_DB = 60.0
"""Echo levels from 0 dB (white) down to this many decibels below (black) are shown."""

NOISE_FLOOR = 0.05
"""Power of the receiver's noise relative to the mean echo; keeps the nulls of the speckle grey."""


def smooth_noise(rng: np.random.Generator, size: tuple[int, ...], sigma: tuple[float, ...]) -> Array:
    """Periodic Gaussian noise of mean 0 and variance 1, smoothed by a Gaussian of `sigma` pixels per axis.

    Example:
        >>> field = smooth_noise(np.random.default_rng(0), (32, 48), (4.0, 6.0))
        >>> field.shape, bool(abs(field.std() - 1) < 1e-4)
        ((32, 48), True)
    """
    axes = tuple(range(len(size)))
    spectrum = np.fft.rfftn(rng.standard_normal(size, dtype=np.float32), axes=axes)
    for axis, (length, width) in enumerate(zip(size, sigma, strict=True)):
        frequency = np.fft.rfftfreq(length) if axis == axes[-1] else np.fft.fftfreq(length)
        gain = np.exp(-2.0 * (np.pi * width * frequency) ** 2)
        spectrum *= gain.astype(np.float32).reshape([-1 if other == axis else 1 for other in axes])
    spectrum.flat[0] = 0.0
    field = np.fft.irfftn(spectrum, s=size, axes=axes)
    return np.asarray(field / max(float(field.std()), 1e-12))


def coordinates(size: tuple[int, ...]) -> list[Array]:
    """Pixel-centre coordinates per axis as broadcastable arrays, in units of the depth."""
    return [((axis + 0.5) / size[0]).astype(np.float32) for axis in np.ogrid[tuple(slice(n) for n in size)]]


def tissue(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Mean echo level in dB of skin, fat, gland and muscle with wavy interfaces, septa and fat lobules."""
    depth, lateral = coordinates(size)[0], size[1:]
    unit = float(size[0])
    waves = [smooth_noise(rng, lateral, tuple(w * unit for _ in lateral))[None] for w in (0.25, 0.2, 0.3)]
    fat_end = rng.uniform(0.16, 0.32) + 0.025 * waves[0]
    gland_end = rng.uniform(0.62, 0.85) + 0.03 * waves[1]
    skin_end = rng.uniform(0.03, 0.06) + 0.004 * waves[2]
    sheets = (0.013 * unit, *(0.11 * unit for _ in lateral))
    levels = {"fat": rng.uniform(-35, -27), "gland": rng.uniform(-26, -19), "muscle": rng.uniform(-38, -29)}
    echo = np.where(depth < gland_end, np.float32(levels["gland"]), np.float32(levels["muscle"]))
    echo = np.where(depth < fat_end, levels["fat"], echo)
    echo = np.where(depth < skin_end, -16.0, echo)
    for interface, gain in ((fat_end, 9.0), (gland_end, 8.0), (skin_end, 6.0)):
        echo += gain * np.exp(-(((depth - interface) / 0.011) ** 2))
    echo += 3.5 * smooth_noise(rng, size, sheets)
    septa = smooth_noise(rng, size, tuple(1.6 * s for s in sheets)) + 0.6 * waves[1]
    echo += 7.0 * np.exp(-((septa / 0.12) ** 2)) * (depth > skin_end)
    lobules = smooth_noise(rng, size, (0.045 * unit, *(0.075 * unit for _ in lateral)))
    return np.asarray(echo - 9.0 / (1.0 + np.exp(-6.0 * (lobules - 1.1))) * (depth > skin_end))


@dataclass(frozen=True)
class Lesion:
    """A hypoechoic mass.

    Args:
        distance: signed distance to its outline in units of the depth, negative inside, shape (*S).
        contrast: how many dB it lies below its surroundings.
        edge: width of the transition from inside to outside, in units of the depth.
        posterior: dB added behind it; negative is a shadow, positive an enhancement.
    """

    distance: Array
    contrast: float
    edge: float
    posterior: float


def draw_lesion(rng: np.random.Generator, size: tuple[int, ...], clarity: float) -> Lesion:
    """An irregular ellipse; contrast and edge follow `clarity`, from 0 (barely visible) to 1 (crisp)."""
    extent = [n / size[0] for n in size]
    radius = rng.uniform(0.08, 0.18)
    radii = [radius * rng.uniform(0.6, 0.95), *(radius * rng.uniform(0.9, 1.4) for _ in size[1:])]
    centre = [rng.uniform(0.3, 0.68), *(rng.uniform(0.18, 0.82) * width for width in extent[1:])]
    offsets = [axis - middle for axis, middle in zip(coordinates(size), centre, strict=True)]
    tilt = rng.uniform(-0.4, 0.4)
    offsets[:2] = [
        offsets[0] * math.cos(tilt) - offsets[1] * math.sin(tilt),
        offsets[0] * math.sin(tilt) + offsets[1] * math.cos(tilt),
    ]
    scaled = np.sqrt(sum((offset / r) ** 2 for offset, r in zip(offsets, radii, strict=True)))
    mean_radius = math.prod(radii) ** (1 / len(radii))
    bumps = smooth_noise(rng, size, tuple(rng.uniform(0.3, 0.55) * mean_radius * size[0] for _ in size))
    distance = (scaled - 1.0) * mean_radius + rng.uniform(0.03, 0.15) * mean_radius * bumps
    return Lesion(
        distance=distance,
        contrast=9.0 + 11.0 * clarity + rng.uniform(-1.5, 1.5),
        edge=0.004 + 0.4 * mean_radius * (1.0 - clarity) ** 1.5,
        posterior=float(rng.choice([-1.0, 1.0])) * rng.uniform(0.0, 9.0),
    )


def add_lesion(echo: Array, lesion: Lesion, rng: np.random.Generator) -> Array:
    """`echo` with the lesion, its inner texture and the shadow or enhancement behind it."""
    size = echo.shape
    inside = 1.0 / (1.0 + np.exp(np.clip(lesion.distance / (0.5 * lesion.edge), -40, 40)))
    level = float(echo[lesion.distance < 0].mean()) - lesion.contrast
    texture = 1.5 * smooth_noise(rng, size, tuple(0.02 * size[0] for _ in size))
    merged = echo + inside * (0.75 * (level - echo) - 0.25 * lesion.contrast + texture)
    soft = 1.0 / (1.0 + np.exp(np.clip(lesion.distance / max(0.5 * lesion.edge, 0.015), -40, 40)))
    thickness = np.minimum(np.cumsum(soft, axis=0) / (0.12 * size[0]), 1.0)
    return np.asarray(merged + lesion.posterior * thickness * (1.0 - inside))


def beam(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Gain in dB along the beam: attenuation with depth, a focus, and weak stripes of bad contact."""
    depth, lateral = coordinates(size)[0], size[1:]
    loss = rng.uniform(8.0, 34.0) * np.maximum(depth - rng.uniform(0.2, 0.5), 0.0) ** 1.3
    focus = rng.uniform(0.0, 4.0) * np.exp(-(((depth - rng.uniform(0.3, 0.6)) / 0.2) ** 2))
    stripes = smooth_noise(rng, lateral, tuple(0.035 * size[0] for _ in lateral))[None]
    contact = rng.uniform(2.0, 7.0) * np.maximum(stripes - 1.2, 0.0) * (0.4 + depth)
    return np.asarray(focus - loss - contact)


def speckle(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Fully developed speckle in dB: log of a Rayleigh amplitude with mean power 1, correlated by the beam.

    The amplitude is that of a complex circular Gaussian field filtered by the point spread function, which is
    wider across the beam than along it (Wagner et al. 1983, "Statistics of speckle in ultrasound B-scans").
    """
    scale = max(size[0] / 128.0, 0.75)
    spread = (0.6 * scale, *(1.2 * scale for _ in size[1:]))
    real, imaginary = smooth_noise(rng, size, spread), smooth_noise(rng, size, spread)
    return np.asarray(10.0 * np.log10(0.5 * (real**2 + imaginary**2) + NOISE_FLOOR))


def compress(echo: Array) -> npt.NDArray[np.uint8]:
    """Echo levels in dB as grey values: 0 dB is 255, `DYNAMIC_RANGE_DB` below it is 0."""
    grey = 255.0 * (1.0 + echo / DYNAMIC_RANGE_DB)
    return np.asarray(np.clip(np.rint(grey), 0, 255), dtype=np.uint8)
