"""How a network of slices or patches answers for a whole volume, a slab at a time.

Logits of a whole volume are never held at once: K classes of 512 x 512 x 200 voxels take 210 MB each, and
every step of a computation on them as much again. A predictor therefore yields finished `Slab`s one after
another, and what uses them (labels, scores, pictures) keeps only what it needs of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from meddistill.data.dataset import as_float
from meddistill.data.resize import Interpolation, resize_image
from meddistill.evaluation.answer_maps import Maps
from meddistill.evaluation.inference import Network, device_of, predicting
from meddistill.evaluation.sliding import sliding_slabs

SLAB_VOXELS = 2**21
"""About how many voxels a slab holds; a plane more than that is a slab of its own."""


class Slab(NamedTuple):
    """A part of a volume that is finished.

    Args:
        where: its place in the volume, one slice for each of Z, Y, X.
        logits: (K, *S of `where`) float32 on the network's device; valid until the next slab is asked for.
    """

    where: tuple[slice, slice, slice]
    logits: Tensor


class VolumePredictor(Protocol):
    """What answers for a whole volume: slabs that are disjoint and together cover it."""

    def __call__(self, image: Tensor) -> Iterator[Slab]:
        """The slabs of an image (C, Z, Y, X), uint8 in 0..255 or float in 0..1."""
        ...


@dataclass(frozen=True)
class BySlices:
    """A 2D network sees each slice, resized to the size that it was trained at; its logits are resized back.

    Args:
        network: images (B, C, *size) to logits (B, K, *size).
        size: of the slices in training.
        interpolation: how slices were resized in training; logits go back bilinearly.
        axis: the axis that is cut, 0 for planes of (Y, X).
        batch_size: slices at a time.

    Example:
        >>> by_slices = BySlices(lambda image: torch.cat([-image, image], dim=1), size=(2, 2), batch_size=2)
        >>> [slab.where[0] for slab in by_slices(torch.ones(1, 3, 4, 4))]
        [slice(0, 2, None), slice(2, 3, None)]
    """

    network: Network
    size: tuple[int, ...]
    interpolation: Interpolation = "area"
    axis: int = 0
    batch_size: int = 8

    def __call__(self, image: Tensor) -> Iterator[Slab]:
        """The slabs of an image (C, Z, Y, X): some whole slices each."""
        planes = image.movedim(1 + self.axis, 0)
        device = device_of(self.network)
        for start in range(0, len(planes), self.batch_size):
            batch = planes[start : start + self.batch_size]
            resized = torch.stack(
                [as_float(resize_image(plane, self.size, self.interpolation)) for plane in batch]
            )
            with predicting(self.network):
                logits = self.network(resized.to(device)).float()
                logits = resized_logits(logits, tuple(batch.shape[2:]))
            where = [slice(0, length) for length in image.shape[1:]]
            where[self.axis] = slice(start, start + len(batch))
            yield Slab((where[0], where[1], where[2]), logits.movedim(0, 1 + self.axis))


@dataclass(frozen=True)
class ByPatches:
    """A 3D network slides over the volume at its own grid; where windows overlap, their centres count more.

    The windows, the Gaussian weights and the mean of the logits are those of MONAI's
    `sliding_window_inference(mode="gaussian")`. A volume smaller than the patch is continued on all sides
    with its smallest value, as in training.

    Args:
        network: images (B, C, *patch) to logits (B, K, *patch).
        patch: size of a window.
        overlap: share of a window that the next one along the same axis covers too, 0..1.
        batch_size: windows at a time.

    Example:
        >>> by_patches = ByPatches(lambda image: torch.cat([1 - image, image], dim=1), patch=(2, 2, 2))
        >>> [(slab.where[0], slab.logits[1].unique().item()) for slab in by_patches(torch.ones(1, 3, 4, 4))]
        [(slice(0, 1, None), 1.0), (slice(1, 3, None), 1.0)]
    """

    network: Network
    patch: tuple[int, ...]
    overlap: float = 0.5
    batch_size: int = 1

    def __call__(self, image: Tensor) -> Iterator[Slab]:
        """The slabs of an image (C, Z, Y, X): some whole planes each."""
        image = as_float(image)
        found = sliding_slabs(
            self._answer,
            image,
            patch=self.patch,
            overlap=self.overlap,
            batch_size=self.batch_size,
            planes=_planes_of_a_slab(image.shape[1:]),
        )
        for planes, logits in found:
            yield Slab((planes, slice(0, image.shape[2]), slice(0, image.shape[3])), logits)

    def _answer(self, windows: Tensor) -> Tensor:
        with predicting(self.network):
            return self.network(windows.to(device_of(self.network))).float()


@dataclass(frozen=True)
class Resized:
    """A 3D network sees the whole volume, resized to the size that it was trained at.

    Args:
        network: images (B, C, *size) to logits (B, K, *size).
        size: of the volumes in training.
        interpolation: how volumes were resized in training; logits go back trilinearly.

    Example:
        >>> resized = Resized(lambda image: torch.cat([1 - image, image], dim=1), size=(2, 2, 2))
        >>> next(resized(torch.ones(1, 4, 4, 4))).logits.shape
        torch.Size([2, 4, 4, 4])
    """

    network: Network
    size: tuple[int, ...]
    interpolation: Interpolation = "area"

    def __call__(self, image: Tensor) -> Iterator[Slab]:
        """The slabs of an image (C, Z, Y, X): some whole planes each."""
        depth, height, width = image.shape[1:]
        small = as_float(resize_image(image, self.size, self.interpolation))
        with predicting(self.network):
            logits = self.network(small[None].to(device_of(self.network)))[0].float()
        step = _planes_of_a_slab(image.shape[1:])
        for start in range(0, depth, step):
            planes = slice(start, min(start + step, depth))
            between = _planes_between(logits, planes, depth)
            yield Slab((planes, slice(0, height), slice(0, width)), resized_logits(between, (height, width)))


def label_map(slabs: Iterator[Slab], shape: Sequence[int]) -> Tensor:
    """The class with the largest logit of every voxel, (Z, Y, X) uint8.

    Example:
        >>> resized = Resized(lambda image: torch.cat([1 - image, image], dim=1), size=(2, 2, 2))
        >>> label_map(resized(torch.ones(1, 2, 2, 2)), (2, 2, 2)).unique()
        tensor([1], dtype=torch.uint8)
    """
    labels = torch.zeros(*shape, dtype=torch.uint8)
    for where, logits in slabs:
        labels[where] = logits.max(dim=0).indices.to(torch.uint8).cpu()  # ten times as fast as argmax
    return labels


def whole_maps(slabs: Iterator[Slab], shape: Sequence[int]) -> Maps:
    """Class, probability of a structure and entropy of every voxel, each (Z, Y, X).

    Raises:
        DataError: logits that are not finite.

    Example:
        >>> resized = Resized(lambda image: torch.cat([1 - image, image], dim=1), size=(2, 2, 2))
        >>> whole_maps(resized(torch.ones(1, 2, 2, 2)), (2, 2, 2)).foreground.unique().round(decimals=3)
        tensor([0.7310])
    """
    maps = Maps.empty(shape)
    for where, logits in slabs:
        maps.fill(where, Maps.of_answers(logits[None]).of(0))
    return maps


def resized_logits(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """Logits (B, K, H, W) at another size, bilinear; themselves where they have it already.

    Example:
        >>> resized_logits(torch.zeros(1, 2, 3, 4), (6, 8)).shape
        torch.Size([1, 2, 6, 8])
    """
    return logits if tuple(logits.shape[2:]) == size else F.interpolate(logits, size=size, mode="bilinear")


def _planes_between(logits: Tensor, planes: slice, depth: int) -> Tensor:
    """Logits (K, planes, h, w) at some of `depth` planes, linear between those of logits (K, d, h, w)."""
    count = logits.shape[1]
    if count == depth:
        return logits[:, planes]
    wanted = torch.arange(planes.start, planes.stop, device=logits.device)
    position = ((wanted + 0.5) * (count / depth) - 0.5).clamp(0, count - 1)
    below = position.long()
    above = (below + 1).clamp(max=count - 1)
    share = (position - below).view(-1, 1, 1)
    return torch.lerp(logits[:, below], logits[:, above], share)


def _planes_of_a_slab(shape: Sequence[int]) -> int:
    return max(1, SLAB_VOXELS // (shape[1] * shape[2]))
