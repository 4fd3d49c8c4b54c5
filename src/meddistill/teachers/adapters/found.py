"""What a reader hands on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from meddistill.teachers.standardise import Standardisation


@dataclass(frozen=True)
class Found:
    """A network, and what its source says about it; None or empty where it says nothing.

    Args:
        network: maps (B, C, *S) to logits.
        name: what to call the teacher.
        kind: what the source is, for reports.
        in_channels: channels that the network takes.
        num_classes: classes of the network, background included.
        class_names: name of each of them.
        size: the only size that the network takes.
        mean: subtracted from an image in 0..1, see `meddistill.teachers.Teacher`.
        std: divides it.
        standardise: what is done to each image before that.
    """

    network: nn.Module
    name: str
    kind: str
    in_channels: int | None = None
    num_classes: int | None = None
    class_names: tuple[str, ...] = ()
    size: tuple[int, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    standardise: Standardisation | None = None
