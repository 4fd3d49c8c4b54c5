"""Soft masks to try rules on."""

import torch

from meddistill.exclusion import Answers


def two_classes(foreground: torch.Tensor) -> torch.Tensor:
    """Probabilities (B, 2, *S) with this foreground (B, *S)."""
    return torch.stack([1 - foreground, foreground], dim=1)


def square(size: int = 64, side: int = 20, *, inside: float = 1.0, outside: float = 0.0) -> torch.Tensor:
    """A mask (1, 2, size, size) with a square target."""
    mask = torch.full((1, size, size), outside)
    mask[:, :side, :side] = inside
    return two_classes(mask)


def noise(size: int = 64, *, seed: int = 0) -> torch.Tensor:
    """A mask (1, 2, size, size) whose pixels are anything from 0 to 1."""
    return two_classes(torch.rand(1, size, size, generator=torch.Generator().manual_seed(seed)))


def randomly(shape: tuple[int, ...], *, seed: int = 0, scale: float = 3.0) -> torch.Tensor:
    """Random probabilities of `shape` (B, K, *S)."""
    logits = scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return logits.softmax(1)


def for_every_rule(shape: tuple[int, ...], *, seed: int = 0) -> Answers:
    """Random answers of two teachers and their mean."""
    members = torch.stack([randomly(shape, seed=seed), randomly(shape, seed=seed + 1)])
    return Answers(members.mean(0), members)
