"""Label noise: wrong classes of cases, and label maps that were drawn wrongly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import MappingProxyType
from typing import Any

from meddistill.data.noise.base import ClassNoise, MaskNoise, Noise
from meddistill.data.noise.counting import count_changes
from meddistill.data.noise.instance import InstanceDependent
from meddistill.data.noise.masks import BoundaryJitter, Dilation, Erosion, MissingLesion
from meddistill.data.noise.transitions import ClassConditional, PairFlip, Symmetric, TransitionNoise
from meddistill.errors import ConfigError
from meddistill.registry import build

NOISES: Mapping[str, type[Noise]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Symmetric,
            ClassConditional,
            PairFlip,
            InstanceDependent,
            Erosion,
            Dilation,
            BoundaryJitter,
            MissingLesion,
        )
    }
)
"""The kinds of label noise by name; the first four are for classes, the others for label maps."""


def create_noise(name: str, **options: Any) -> Noise:
    """Build label noise by name.

    Args:
        name: one of `NOISES`.
        options: keyword arguments of its class.

    Raises:
        ConfigError: the name or an option is unknown, an option is missing, or a value is out of range.

    Example:
        >>> import numpy as np
        >>> noise = create_noise("symmetric", rate=0.4)
        >>> noise.apply(np.zeros(10, dtype=int), seed=1, num_classes=3).tolist()
        [0, 1, 0, 0, 0, 2, 0, 0, 0, 1]
        >>> create_noise("symetric")
        Traceback (most recent call last):
        ...
        meddistill.errors.ConfigError: unknown label noise 'symetric'; did you mean 'symmetric'?
    """
    if name in NOISES:
        wanted = [option.name for option in fields(NOISES[name]) if option.default is MISSING]  # type: ignore[arg-type]
        absent = [option for option in wanted if option not in options]
        if absent:
            raise ConfigError(f"label noise: {name} needs the option {absent[0]}")
    made: Noise = build("label noise", name, NOISES, options)
    return made


__all__ = [
    "NOISES",
    "BoundaryJitter",
    "ClassConditional",
    "ClassNoise",
    "Dilation",
    "Erosion",
    "InstanceDependent",
    "MaskNoise",
    "MissingLesion",
    "Noise",
    "PairFlip",
    "Symmetric",
    "TransitionNoise",
    "count_changes",
    "create_noise",
]
