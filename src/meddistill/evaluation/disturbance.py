"""Test images that something is done to before a network sees them, in a known strength."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from meddistill.data.seeding import mixed_seed
from meddistill.evaluation.attacks import fgsm, pgd
from meddistill.evaluation.inference import Network, device_of
from meddistill.methods.base import Batch

Change = Callable[[Network, Batch], Tensor]
"""From a network and a batch on its device to other images (B, C, *S) in 0..1."""

GREY_LEVELS = 255
"""Levels above black of an 8-bit image, which the strength of an attack is given in."""


@dataclass(frozen=True)
class Disturbance:
    """Something that changes images, with its strength.

    Args:
        name: of its kind, for example `pgd`.
        strength: in the unit of its kind; more is stronger.
        change: gives the changed images. It must treat each image by itself, whatever batch it is in.
    """

    name: str
    strength: float
    change: Change


class Disturbed:
    """The batches of a loader with their images changed, each when it is asked for: none is kept.

    Args:
        loader: yields batches with `image` in 0..1, `label` and `case_id`.
        network: that will see them; an attack is made on it.
        disturbance: what happens to the images.

    Example:
        >>> import torch
        >>> batch = {"image": torch.full((1, 1), 0.5), "label": torch.tensor([0]), "case_id": ["a"]}
        >>> darker = Disturbance("dark", 1, lambda network, batch: batch["image"] / 2)
        >>> [float(shown["image"]) for shown in Disturbed([batch], torch.nn.Identity(), darker)]
        [0.25]
    """

    def __init__(self, loader: DataLoader[Any], network: Network, disturbance: Disturbance) -> None:
        self.loader, self.network, self.disturbance = loader, network, disturbance

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        """One pass over the batches."""
        device = device_of(self.network)
        for batch in self.loader:
            seen: Batch = batch.copy()
            seen["image"], seen["label"] = batch["image"].to(device), batch["label"].to(device)
            seen["image"] = self.disturbance.change(self.network, seen)
            yield seen


def fgsm_attack(eps: float) -> Disturbance:
    """`fgsm` by at most `eps` grey levels.

    Example:
        >>> fgsm_attack(2).name, fgsm_attack(2).strength
        ('fgsm', 2)
    """

    def change(network: Network, batch: Batch) -> Tensor:
        return fgsm(network, batch["image"], batch["label"], eps=eps / GREY_LEVELS)

    return Disturbance("fgsm", eps, change)


def pgd_attack(
    eps: float,
    *,
    steps: int = 10,
    step_size: float | None = None,
    random_start: bool = True,
    seed: int = 0,
) -> Disturbance:
    """`pgd` by at most `eps` grey levels; its random start depends on `seed` and the id of each case.

    Args:
        eps: in grey levels of 8-bit images.
        steps: how many.
        step_size: in grey levels; None for 2.5 eps / steps.
        random_start: begin at a random place within eps.
        seed: of that place.
    """
    size = None if step_size is None else step_size / GREY_LEVELS

    def change(network: Network, batch: Batch) -> Tensor:
        seeds = [mixed_seed(seed, zlib.crc32(name.encode())) for name in batch["case_id"]]
        return pgd(
            network,
            batch["image"],
            batch["label"],
            eps=eps / GREY_LEVELS,
            steps=steps,
            step_size=size,
            random_start=random_start,
            seed=seeds,
        )

    return Disturbance("pgd", eps, change)
