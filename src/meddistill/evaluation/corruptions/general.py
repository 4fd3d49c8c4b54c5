"""What images of any modality suffer: too low a dose, a coarse detector, lossy storage."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image as Pictures

from meddistill.data.resize import resize_image
from meddistill.errors import DataError
from meddistill.evaluation.corruptions.base import Changed, Corruption, Image

PHOTONS = (1000.0, 400.0, 150.0, 60.0, 25.0)
"""Photons that reach the detector where the image is black, by severity."""

ATTENUATION = 3.0
"""Logarithm of how many times fewer reach it where the image is white."""

COARSER = (1.5, 2.0, 3.0, 4.0, 6.0)
"""By how much pixels grow along each axis."""

QUALITY = (30, 20, 12, 7, 4)
"""Quality of the JPEG file."""


def low_dose_noise(image: Image, severity: int, rng: np.random.Generator) -> Changed:
    """The quantum noise of a radiograph that is made with too few photons.

    By the law of Beer and Lambert a pixel x receives N exp(-a x) of the N photons; their number is Poisson
    distributed, and its logarithm is what the image shows.
    """
    photons = PHOTONS[severity - 1]
    counted = rng.poisson(photons * np.exp(-ATTENUATION * image.astype(np.float64)))
    return np.log(photons / np.maximum(counted, 0.5)) / ATTENUATION


def resolution_loss(image: Image, severity: int, rng: np.random.Generator) -> Image:  # noqa: ARG001
    """Averaged to fewer, larger pixels and brought back to the old size by linear interpolation."""
    size = image.shape[1:]
    fewer = tuple(max(1, round(length / COARSER[severity - 1])) for length in size)
    coarse = resize_image(torch.from_numpy(np.ascontiguousarray(image)), fewer, "area")
    return resize_image(coarse, size, "bilinear").numpy()


def jpeg(image: Image, severity: int, rng: np.random.Generator) -> Image:  # noqa: ARG001
    """Saved as a JPEG file of low quality, grey or in colour as the image is, and read again."""
    if len(image) not in (1, 3):
        raise DataError(f"jpeg needs images of 1 or 3 channels, not {len(image)}; leave it out")
    pixels = np.rint(image * 255).astype(np.uint8)
    picture = Pictures.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY[severity - 1])
    stored = np.atleast_3d(np.asarray(Pictures.open(file)))
    return stored.transpose(2, 0, 1).astype(np.float32) / np.float32(255)


KINDS = (
    Corruption("low_dose_noise", low_dose_noise),
    Corruption("resolution_loss", resolution_loss),
    Corruption("jpeg", jpeg, dims=(2,)),
)
