"""Where robust stochastic distillation and its prototype part: one row of settings for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from meddistill.losses.kl import ClassReduction


@dataclass(frozen=True)
class Preset:
    """What `StochasticEnsembleDistillation` leaves to a preset; docs/methods/roskd.md explains each entry.

    Args:
        class_reduction: the divergence between exclusive classes summed over them, or their mean.
        labels: with `multi_label`, each label a probability of its own, or all of them one softmax.
        generator: the method's own source of chance, or torch's global one.
    """

    class_reduction: ClassReduction
    labels: Literal["bernoulli", "softmax"]
    generator: Literal["own", "global"]


PRESETS = {
    "paper": Preset(class_reduction="sum", labels="bernoulli", generator="own"),
    "reference": Preset(class_reduction="mean", labels="softmax", generator="global"),
}
"""`reference`: what the prototype of the paper's first author computes. `paper`: the same, defects mended."""
