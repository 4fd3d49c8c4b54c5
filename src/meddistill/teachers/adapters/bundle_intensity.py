"""What a MONAI bundle does to the intensities of an image, as mean, std and standardisation of a teacher."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from meddistill.errors import TeacherError
from meddistill.teachers.standardise import Standardisation

_GEOMETRY_AND_TYPE = frozenset(
    (
        *("AddChannel", "AsChannelFirst", "CastToType", "CenterSpatialCrop", "CopyItems", "CropForeground"),
        *("DeleteItems", "DivisiblePad", "EnsureChannelFirst", "EnsureType", "Identity", "LoadImage"),
        *("Orientation", "ResizeWithPadOrCrop", "SelectItems", "Spacing", "SpatialCrop", "SpatialPad"),
        *("SqueezeDim", "ToDevice", "ToTensor", "Transpose"),
    )
)
_ADVICE = "give mean and std (or standardise) for images in 0..1"


@dataclass(frozen=True)
class Intensity:
    """What becomes of an image in 0..1: standardised, then brought linearly to `low`..`high`.

    Args:
        standardise: what is done to each image first.
        low: what 0 becomes.
        high: what 1 becomes.
        size: the size that the image is brought to.
        stated: whether a transform said anything about intensities.
    """

    standardise: Standardisation | None = None
    low: float = 0.0
    high: float = 1.0
    size: tuple[int, ...] | None = None
    stated: bool = False

    @property
    def mean(self) -> float:
        """What to subtract so that division by `std` gives `low` for 0.

        Example:
            >>> Intensity(low=-1.0, high=1.0).mean, Intensity(low=-1.0, high=1.0).std
            (0.5, 0.5)
        """
        return -self.low * self.std

    @property
    def std(self) -> float:
        """What to divide by."""
        return 1 / (self.high - self.low)


def read_transforms(transforms: Sequence[Mapping[str, Any]], channels: int, source: str) -> Intensity:
    """Fold a bundle's preprocessing of the image.

    Images in 0..1 are taken for what `ScaleIntensityRange` makes of its window a_min..a_max before it moves
    them to b_min..b_max. Orientation, spacing and crops belong to the data and are left to them; random
    transforms too.

    Args:
        transforms: with `_target_` and arguments, in order; dictionary transforms of other keys than the
            image are passed over.
        channels: of the image.
        source: the file, for messages.

    Raises:
        TeacherError: a transform that is not understood; the message says what to give instead.

    Example:
        >>> scaled = {"_target_": "ScaleIntensityRanged", "keys": "image", "b_min": -1, "b_max": 1}
        >>> read_transforms([scaled], 1, "example").low
        -1.0
    """
    folded = Intensity()
    for transform in transforms:
        name = str(transform.get("_target_", "")).rpartition(".")[2]
        plain = re.sub(r"(Dict|d|D)$", "", name)
        keys = transform.get("keys", "image")
        if "image" not in ([keys] if isinstance(keys, str) else keys) or transform.get("_disabled_") is True:
            continue
        if plain in _GEOMETRY_AND_TYPE or name in _GEOMETRY_AND_TYPE or plain.startswith("Rand"):
            continue
        reader = _READERS.get(plain)
        if reader is None:
            raise TeacherError(
                f"{source}: what {name or 'a transform'} does to the image is not known; {_ADVICE}"
            )
        try:
            folded = reader(folded, transform, channels)
        except (KeyError, TypeError, ValueError) as error:
            raise TeacherError(f"{source}: {name} cannot be followed ({error}); {_ADVICE}") from error
    return folded


def _range(before: Intensity, given: Mapping[str, Any], _: int) -> Intensity:
    low, high = given.get("b_min"), given.get("b_max")
    if before.stated:
        raise ValueError("its window is in units of the transform before it")
    if low is None or high is None:
        raise ValueError("it has no b_min and b_max")
    return replace(before, low=float(low), high=float(high), stated=True)


def _scale(before: Intensity, given: Mapping[str, Any], channels: int) -> Intensity:
    low, high = given.get("minv", 0.0), given.get("maxv", 1.0)
    if (
        given.get("factor") is not None
        or low is None
        or high is None
        or (given.get("channel_wise") and channels > 1)
    ):
        raise ValueError("only scaling of the whole image to minv..maxv is known")
    return replace(before, standardise="minmax", low=float(low), high=float(high), stated=True)


def _normalise(before: Intensity, given: Mapping[str, Any], channels: int) -> Intensity:
    nonzero, subtrahend, divisor = (given.get(name) for name in ("nonzero", "subtrahend", "divisor"))
    if subtrahend is None and divisor is None:
        if nonzero and before.low != 0:
            raise ValueError("nonzero, after a range in which 0 is not the darkest")
        how = "channel" if given.get("channel_wise") and channels > 1 else "image"
        names: dict[tuple[str, bool], Standardisation] = {
            ("image", False): "image",
            ("image", True): "image-nonzero",
            ("channel", False): "channel",
            ("channel", True): "channel-nonzero",
        }
        return Intensity(names[how, bool(nonzero)], size=before.size, stated=True)
    if nonzero or not before.stated:
        raise ValueError("its numbers are for images in other units than 0..1")
    low, high = (
        (value - float(subtrahend or 0)) / float(divisor or 1) for value in (before.low, before.high)
    )
    return replace(before, low=low, high=high)


def _resize(before: Intensity, given: Mapping[str, Any], _: int) -> Intensity:
    size = given["spatial_size"]
    if not isinstance(size, list) or not all(isinstance(n, int) and n > 0 for n in size):
        raise ValueError("its spatial_size is no list of numbers above 0")
    return replace(before, size=tuple(size))


_READERS = {
    "ScaleIntensityRange": _range,
    "ScaleIntensity": _scale,
    "NormalizeIntensity": _normalise,
    "Resize": _resize,
}
