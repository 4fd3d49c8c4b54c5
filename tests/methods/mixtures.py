"""Batches of fully and weakly labelled images, and small networks for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from meddistill.losses import IGNORE_INDEX
from meddistill.methods import Batch
from meddistill.models import DualLogits, ModelSpec
from meddistill.testing import make_batch, make_inputs

SHAPE = (5, 3, 8, 7)


def mixture(shape: tuple[int, ...] = SHAPE, full: tuple[int, ...] = (1, 3), *, share: float = 0.2) -> Batch:
    """Random images, labels and weak labels; the cases in `full` are fully labelled."""
    generator = torch.Generator().manual_seed(3)
    _, labels, _ = make_inputs(shape, seed=3)
    weak = labels.masked_fill(torch.rand(labels.shape, generator=generator) > share, IGNORE_INDEX)
    known = torch.zeros(shape[0], dtype=torch.bool)
    known[list(full)] = True
    batch = make_batch(torch.where(known.view(-1, *[1] * (labels.ndim - 1)), labels, weak))
    image = torch.rand(shape[0], 1, *shape[2:], generator=generator)
    return {**batch, "image": image, "full": known, "weak": weak}


def both_logits(batch: Batch, classes: int = 3, *, upper: str = "full", lower: str = "all") -> DualLogits:
    """Random logits of both branches for the parts of the batch that they answer."""
    shape = (len(batch["label"]), classes, *batch["label"].shape[1:])
    first, _, second = make_inputs(shape, seed=4)
    return DualLogits(first[where(batch, upper)], second[where(batch, lower)])


def where(batch: Batch, part: str) -> Tensor:
    """The mask of a part of the batch."""
    full = batch["full"]
    return {"full": full, "weak": ~full, "all": torch.ones_like(full)}[part]


def network(form: str, **options: Any) -> Any:
    """A tiny network of a form, with weights of its own but the same ones each time."""
    torch.manual_seed(0)
    spec = ModelSpec("pcd/unet", num_classes=3, options={"width": 2, **options}, form=form)
    return spec.build()
