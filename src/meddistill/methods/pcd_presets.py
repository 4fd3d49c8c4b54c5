"""Where the P-CD paper and its released code part: one row of settings for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from meddistill.losses.kl import ClassReduction
from meddistill.losses.svls import Centre
from meddistill.pacing import falling_floor, rising_floor
from meddistill.pacing.threshold import Rounding


@dataclass(frozen=True)
class Preset:
    """What `PacedDistillation` leaves to a preset; docs/methods/pcd.md explains each entry.

    Args:
        class_reduction: the divergence summed over the classes, or their mean.
        confidence_temperature: temperature of the teacher's confidence; "calibrate" takes the fitted one.
        masks: whether an image is masked by its own confidence or by the mean mask of its batch.
        floor: weight of unsure pixels under CPL, from the threshold.
        cpl_step: whether the CPL threshold of `cpl_tpl` steps as far as `cpl_every` or as `every` asks for.
        centre: the kernel element that boundary smoothing takes for the centre.
        rounding: how shares of pixels are compared when the first threshold is looked for.
    """

    class_reduction: ClassReduction
    confidence_temperature: float | Literal["calibrate"]
    masks: Literal["per_image", "batch_mean"]
    floor: Callable[[float], float]
    cpl_step: Literal["cpl_every", "every"]
    centre: Centre
    rounding: Rounding


PRESETS = {
    "paper": Preset(
        class_reduction="sum",
        confidence_temperature="calibrate",
        masks="per_image",
        floor=rising_floor,
        cpl_step="cpl_every",
        centre="middle",
        rounding="exact",
    ),
    "reference": Preset(
        class_reduction="mean",
        confidence_temperature=2.51,
        masks="batch_mean",
        floor=falling_floor,
        cpl_step="every",
        centre="corner",
        rounding="reference",
    ),
    "first": Preset(
        class_reduction="mean",
        confidence_temperature=6.26,
        masks="per_image",
        floor=rising_floor,
        cpl_step="every",
        centre="corner",
        rounding="reference",
    ),
}
"""`paper`: what the paper says. `reference`: what mobarakol/P-CD computes. `first`: what its forerunner
VIEKASH2001/Paced-Curriculum-Distillation computes."""
