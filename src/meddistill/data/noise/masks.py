"""Noise on label maps: drawn too small, too large, with an unsteady hand, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.noise.base import Floats, Labels, Mask, MaskNoise, SomeCases, check_length, check_rate


@dataclass(frozen=True, kw_only=True)
class Erosion(SomeCases):
    """Objects are drawn too small: what is within `width` of their outside becomes background.

    Each class is eroded by itself. The border of the image and ignored pixels are not outside. Of an object
    (a connected part of a class, corners touch) that is too small for it the deepest pixels stay.

    Args:
        rate: probability that a case is changed.
        width: in pixels, above 0.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> Erosion(width=1).apply(np.array([[0, 1, 1, 1, 0, 1, 0]]), seed=0)
        array([[0, 0, 1, 0, 0, 1, 0]])
    """

    name = "erosion"
    width: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_length("width", self.width)

    def _changed(self, label: Labels, generator: np.random.Generator) -> Labels:  # noqa: ARG002 - no chance
        noisy = label.copy()
        for value in np.unique(label[label > 0]):
            mask = label == value
            noisy[mask & (_depth(mask, label) <= self._reach(mask, label))] = 0
        return noisy

    def _reach(self, mask: Mask, label: Labels) -> Floats:
        """How deep each object is eroded: to `width`, or to less so that something stays."""
        from scipy import ndimage

        parts, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
        deepest = np.zeros(count + 1)
        np.maximum.at(deepest, parts.ravel(), _depth(mask, label).ravel())
        limit = np.where(deepest > self.width, self.width, np.nextafter(deepest, 0))
        reached: Floats = limit[parts]
        return reached


@dataclass(frozen=True, kw_only=True)
class Dilation(SomeCases):
    """Objects are drawn too large: background within `width` of one takes the class of the nearest.

    Args:
        rate: probability that a case is changed.
        width: in pixels, above 0.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> Dilation(width=1).apply(np.array([[0, 0, 1, 0, 0, 0, 2]]), seed=0)
        array([[0, 1, 1, 1, 0, 2, 2]])
    """

    name = "dilation"
    width: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_length("width", self.width)

    def _changed(self, label: Labels, generator: np.random.Generator) -> Labels:  # noqa: ARG002 - no chance
        from scipy.ndimage import distance_transform_edt

        if not (label > 0).any():
            return label
        distance, nearest = distance_transform_edt(label <= 0, return_indices=True)
        grown: Labels = np.where((label == 0) & (distance <= self.width), label[tuple(nearest)], label)
        return grown


@dataclass(frozen=True, kw_only=True)
class BoundaryJitter(SomeCases):
    """Boundaries are drawn with an unsteady hand: every pixel takes the label of a place nearby.

    The displacement is a random field of Gaussian numbers, smoothed and scaled to the deviation `width` along
    each axis and cut off at three times that. Inside regions nothing changes.

    Args:
        rate: probability that a case is changed.
        width: deviation of the displacement in pixels, above 0.
        smoothness: width of the Gaussian that smooths it, in pixels, above 0.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> label = np.pad(np.ones((6, 6), dtype=int), 5)
        >>> noisy = BoundaryJitter().apply(label, seed=0)
        >>> bool((noisy != label).any()), bool(noisy[7:9, 7:9].all())
        (True, True)
    """

    name = "boundary_jitter"
    width: float = 1.0
    smoothness: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_length("width", self.width)
        check_length("smoothness", self.smoothness)

    def _changed(self, label: Labels, generator: np.random.Generator) -> Labels:
        places = []
        for axis, place in enumerate(np.indices(label.shape)):
            moved = np.rint(place + self._field(label.shape, generator)).astype(np.intp)
            places.append(moved.clip(0, label.shape[axis] - 1))
        taken = label[tuple(places)]
        return np.where(taken == IGNORE_INDEX, label, taken)

    def _field(self, shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
        """The displacement along one axis, (*S)."""
        from scipy.ndimage import gaussian_filter

        field = gaussian_filter(generator.standard_normal(shape), self.smoothness, mode="reflect")
        scaled: Floats = field * (self.width / np.sqrt((field**2).mean()))
        return scaled.clip(-3 * self.width, 3 * self.width)


@dataclass(frozen=True, kw_only=True)
class MissingLesion(MaskNoise):
    """Lesions are overlooked: each connected part of the foreground (corners touch) may become background.

    Args:
        rate: probability that a lesion is missing, 0..1.

    Raises:
        ConfigError: the rate lies outside 0..1.

    Example:
        >>> MissingLesion(rate=1.0).apply(np.array([[1, 2, 0, 1, -100]]), seed=0)
        array([[   0,    0,    0,    0, -100]])
    """

    name = "missing_lesion"
    rate: float = 0.2

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def _drawn(self, label: Labels, generator: np.random.Generator) -> Labels:
        from scipy import ndimage

        lesions, count = ndimage.label(label > 0, np.ones((3,) * label.ndim))
        missing = np.concatenate([[False], generator.random(count) < self.rate])
        return np.where(missing[lesions], 0, label)


def _depth(mask: Mask, label: Labels) -> Floats:
    """Distance of each pixel of the mask to the nearest labelled pixel outside it; infinite without one."""
    from scipy.ndimage import distance_transform_edt

    outside = ~mask & (label != IGNORE_INDEX)
    if not outside.any():
        return np.full(mask.shape, np.inf)
    distance: Floats = distance_transform_edt(~outside)
    return distance
