"""Random changes of a sample: geometric for image, labels and logits alike, photometric for the image.

Built on MONAI's dictionary transforms, which are imported when a transform is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NotRequired, TypedDict

from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, unknown_name


class Sample(TypedDict):
    """One case: `image` (C, *S) float in 0..1, `label` (*S) int64, `teacher_logits` (K, *S) where stored.

    Logits of the members of an ensemble are (M, K, *S). Where labels speak of the whole image, `label` is ()
    or (L,) and `teacher_logits` are (K,). Under mixed supervision there is also `weak` (*S) int64, its weak
    label.
    """

    image: Tensor
    label: Tensor
    teacher_logits: NotRequired[Tensor]
    weak: NotRequired[Tensor]


@dataclass(frozen=True)
class Augmentation:
    """How much to change a sample. Zero leaves the thing alone.

    Args:
        flip: probability of a mirror image, for each axis on its own.
        quarter_turns: probability of 1 to 3 quarter turns in the plane of the last two axes, which must be
            equal.
        rotate: largest rotation in degrees, about every axis in 3D.
        zoom: largest relative change of size, 0.1 for 0.9 to 1.1.
        shear: largest tangent of the shearing angle, between every pair of axes.
        gamma: largest factor on the exponent of a gamma curve, 1.5 for 1/1.5 to 1.5; 1 leaves it alone.
        noise: standard deviation of Gaussian noise (the image runs from 0 to 1).
        blur: largest sigma of a Gaussian blur, in pixels.
        photometric: probability of each of gamma, noise and blur.

    Raises:
        ConfigError: a number is out of range.

    Example:
        >>> Augmentation(flip=0.5, rotate=10).rotate
        10
    """

    flip: float = 0.0
    quarter_turns: float = 0.0
    rotate: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    gamma: float = 1.0
    noise: float = 0.0
    blur: float = 0.0
    photometric: float = 0.3

    def __post_init__(self) -> None:
        limits = {"flip": 1, "quarter_turns": 1, "rotate": 180, "zoom": 0.9, "shear": 1, "photometric": 1}
        for name, value in vars(self).items():
            low, high = (1 if name == "gamma" else 0), limits.get(name, math.inf)
            if not low <= value <= high:
                raise ConfigError(f"augmentation: {name} must lie in {low}..{high}, not {value!r}")


PRESETS: Mapping[str, Augmentation] = MappingProxyType(
    {
        "none": Augmentation(),
        "flip": Augmentation(flip=0.5),
        "light": Augmentation(flip=0.5, rotate=10, zoom=0.1, gamma=1.25),
        "medium": Augmentation(flip=0.5, rotate=20, zoom=0.2, shear=0.1, gamma=1.5, noise=0.05, blur=1.0),
    }
)
"""Ready mixtures by name, for 2D and 3D."""


def make_transform(augmentation: str | Augmentation, dims: int) -> JointTransform | None:
    """The transform of a preset, or of an `Augmentation` of your own; None for `"none"`.

    Raises:
        ConfigError: an unknown preset, or `dims` is neither 2 nor 3.

    Example:
        >>> make_transform("none", dims=2) is None
        True
    """
    if isinstance(augmentation, str):
        if augmentation not in PRESETS:
            raise ConfigError(unknown_name("augmentation", augmentation, PRESETS))
        augmentation = PRESETS[augmentation]
    return None if augmentation == Augmentation() else JointTransform(augmentation, dims)


class JointTransform:
    """Applies an `Augmentation`; the same seed gives the same change, in whatever process.

    Labels take the nearest value, images and logits are interpolated linearly. What comes in from outside the
    frame is black in the image, the nearest edge in the logits, and `IGNORE_INDEX` in the labels, so that no
    loss counts it. Labels and logits of the whole image stay as they are.

    Args:
        augmentation: how much to change.
        dims: 2 or 3 spatial axes.

    Raises:
        ConfigError: `dims` is neither 2 nor 3.
    """

    def __init__(self, augmentation: Augmentation, dims: int) -> None:
        if dims not in (2, 3):
            raise ConfigError(f"dims must be 2 or 3, not {dims!r}")
        from monai.transforms import Compose

        self.augmentation = augmentation
        self.dims = dims
        self._steps = Compose([*_geometric(augmentation, dims), *_photometric(augmentation)])

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """A changed copy of `sample`.

        Args:
            sample: what to change; every entry has the same spatial size S.
            seed: 0..2**32-1, decides everything random.

        Raises:
            ConfigError: quarter turns of a plane that is not square.
        """
        sides = sample["image"].shape[-2:]
        if self.augmentation.quarter_turns and sides[0] != sides[1]:
            raise ConfigError(
                f"quarter turns need a square plane, not {tuple(sides)}; set quarter_turns to 0"
            )
        self._steps.set_random_state(seed=seed)
        if sample["label"].ndim != self.dims:
            return self._of_the_whole(sample)
        with _without_metadata():
            changed = self._steps({**sample, **_shifted(sample), **self._flattened(sample)})
        result = Sample(image=changed["image"].clamp(0, 1), label=_unshifted(changed["label"]))
        if "weak" in sample:
            result["weak"] = _unshifted(changed["weak"])
        if "teacher_logits" in sample:
            result["teacher_logits"] = changed["teacher_logits"].view_as(sample["teacher_logits"])
        return result

    def _of_the_whole(self, sample: Sample) -> Sample:
        """The sample with another image; what is said of the whole image holds all the same."""
        with _without_metadata():
            changed = self._steps({"image": sample["image"]})
        return {**sample, "image": changed["image"].clamp(0, 1)}

    def _flattened(self, sample: Sample) -> dict[str, Tensor]:
        """The logits of all members as channels of one map."""
        if "teacher_logits" not in sample:
            return {}
        return {"teacher_logits": sample["teacher_logits"].flatten(0, -self.dims - 1)}


def _shifted(sample: Sample) -> dict[str, Tensor]:
    """The label maps as float channels, shifted so that the 0 that fills in means `IGNORE_INDEX`."""
    maps = {"label": sample["label"]}
    if "weak" in sample:
        maps["weak"] = sample["weak"]
    return {name: (values[None] - IGNORE_INDEX).float() for name, values in maps.items()}


def _unshifted(changed: Tensor) -> Tensor:
    return changed[0].round().long() + IGNORE_INDEX


def _geometric(augmentation: Augmentation, dims: int) -> list[Any]:
    from monai.transforms import RandAffined, RandFlipd, RandRotate90d

    keys = ["image", "label", "weak", "teacher_logits"]
    steps: list[Any] = []
    if augmentation.flip:
        steps += [RandFlipd(keys, augmentation.flip, axis, allow_missing_keys=True) for axis in range(dims)]
    if augmentation.quarter_turns:
        plane = (dims - 2, dims - 1)
        steps += [RandRotate90d(keys, augmentation.quarter_turns, 3, plane, allow_missing_keys=True)]
    if augmentation.rotate or augmentation.zoom or augmentation.shear:
        affine = RandAffined(
            keys,
            prob=1.0,
            rotate_range=(math.radians(augmentation.rotate),) * (1 if dims == 2 else 3),
            shear_range=(augmentation.shear,) * (2 if dims == 2 else 6),
            scale_range=(augmentation.zoom,) * dims,
            mode=("bilinear", "nearest", "nearest", "bilinear"),
            padding_mode=("zeros", "zeros", "zeros", "border"),
            allow_missing_keys=True,
        )
        steps.append(affine)
    return steps


def _photometric(augmentation: Augmentation) -> list[Any]:
    from monai.transforms import RandAdjustContrastd, RandGaussianNoised, RandGaussianSmoothd

    prob, steps = augmentation.photometric, list[Any]()
    if augmentation.gamma > 1:
        steps.append(RandAdjustContrastd("image", prob, (1 / augmentation.gamma, augmentation.gamma)))
    if augmentation.blur:
        sigma = (0.0, augmentation.blur)
        steps.append(RandGaussianSmoothd("image", sigma, sigma, sigma, prob=prob))
    if augmentation.noise:
        steps.append(RandGaussianNoised("image", prob, std=augmentation.noise))
    return steps


@contextmanager
def _without_metadata() -> Iterator[None]:
    """MONAI's transforms on plain tensors, about twice as fast; its global setting is put back afterwards."""
    from monai.data import get_track_meta, set_track_meta

    before = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(before)
