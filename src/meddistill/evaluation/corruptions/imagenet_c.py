"""The fifteen corruptions of ImageNet-C, for natural images.

Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations"
(ICLR 2019). The images are made by `imagecorruptions-imaug`, which comes with
`pip install 'meddistill[robustness]'`. It works on 8-bit colour images and so do these: other values are
rounded, a grey image is repeated for three channels and comes back as their luminance, as it would from a
folder of corrupted files that is read as grey. Noise that is drawn for each channel is therefore weaker by a
third on grey images.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
from PIL import Image as Pictures

from meddistill.errors import ConfigError, DataError
from meddistill.evaluation.corruptions.base import Corruption, Image

NAMES = (
    "gaussian_noise", "shot_noise", "impulse_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
"""As the library and the paper call them."""

SMALLEST = 32
"""Pixels along each side that the library needs."""

_TAKES_SEED = ("impulse_noise", "glass_blur")
"""These draw from a generator of their own; the others from numpy's global one."""

Pixels = npt.NDArray[np.uint8]


def check_installed() -> None:
    """Refuse the corruptions of ImageNet-C where their library is not installed.

    Raises:
        ConfigError: it is not.
    """
    if find_spec("imagecorruptions") is None:
        raise ConfigError(
            "the corruptions of ImageNet-C need imagecorruptions-imaug: pip install 'meddistill[robustness]'"
        )


def imagenet_c(name: str) -> Corruption:
    """The corruption called `name`, for images of one or three channels.

    Example:
        >>> imagenet_c("fog").dims
        (2,)
    """
    return Corruption(name, partial(_change, name), dims=(2,))


def _change(name: str, image: Image, severity: int, rng: np.random.Generator) -> Image:
    channels, *size = image.shape
    if channels not in (1, 3) or min(size) < SMALLEST:
        raise DataError(
            f"{name} needs images of 1 or 3 channels and at least {SMALLEST} pixels a side, not "
            f"{channels} x {' x '.join(map(str, size))}; leave the kinds of ImageNet-C out"
        )
    pixels = np.rint(image * 255).astype(np.uint8).transpose(1, 2, 0)
    made = corrupted_pixels(np.repeat(pixels, 3, axis=2) if channels == 1 else pixels, name, severity, rng)
    if channels == 1:
        made = np.asarray(Pictures.fromarray(made).convert("L"))[..., None]
    return made.transpose(2, 0, 1).astype(np.float32) / np.float32(255)


def corrupted_pixels(pixels: Pixels, name: str, severity: int, rng: np.random.Generator) -> Pixels:
    """What the library makes of pixels (H, W, 3); numpy's global generator is as it was afterwards."""
    seed = int(rng.integers(2**32))
    known = {"seed": seed} if name in _TAKES_SEED else {}
    corrupt = _library()
    with _global_seed(seed), contextlib.redirect_stdout(io.StringIO()):  # it prints at odd sizes
        return corrupt(pixels, severity=severity, corruption_name=name, **known)


@cache
def _library() -> Callable[..., Pixels]:
    """Its one function, with OpenCV kept to one thread: whole images are what is worked on in parallel."""
    check_installed()
    import cv2
    from imagecorruptions import corrupt

    cv2.setNumThreads(1)
    made: Callable[..., Pixels] = corrupt
    return made


@contextlib.contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
