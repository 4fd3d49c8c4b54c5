"""One sentence on what limits a training step and what to change."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from meddistill.config import Recipe
from meddistill.training.hardware import has_fast_bf16, takes_bf16

_WORTH = 0.05
"""Share of a step below which nothing is said of a part that is not the largest."""


class _Limit(NamedTuple):
    """Some parts of a step, and what would make them shorter: words, or None when nothing is left to do."""

    subject: str
    parts: tuple[str, ...]
    remedy: Callable[[Recipe], str | None]


def advice(shares: Mapping[str, float], recipe: Recipe) -> str:
    """What takes most of a step, and the key to change; the next largest where nothing is left to change.

    Args:
        shares: of each of `clock.PARTS` in a step.
        recipe: what was measured.

    Example:
        >>> from meddistill.config import load_recipe
        >>> advice({"teacher": 0.61, "student": 0.39}, load_recipe("phantom-demo"))
        'The teacher takes 61 % of a step: store its outputs (--teacher.mode joint).'
    """
    sizes = {limit: sum(shares.get(part, 0.0) for part in limit.parts) for limit in _LIMITS}
    ranked = sorted(_LIMITS, key=lambda limit: -sizes[limit])
    largest = _clause(ranked[0], sizes)
    for limit in ranked:
        remedy = limit.remedy(recipe)
        if remedy is not None and limit is ranked[0]:
            return f"{largest}: {remedy}."
        if remedy is not None and sizes[limit] >= _WORTH:
            clause = _clause(limit, sizes)
            return f"{largest}, with no switch left for it; {clause[0].lower()}{clause[1:]}: {remedy}."
    return f"{largest}, with no switch left for it; a smaller network or smaller images would be faster."


def _clause(limit: _Limit, sizes: Mapping[_Limit, float]) -> str:
    return f"{limit.subject} takes {100 * sizes[limit]:.0f} % of a step"


def _more_workers(recipe: Recipe) -> str | None:
    workers, cores = recipe.training.workers, os.cpu_count() or 1
    return f"try --training.workers {min(cores, max(1, 2 * workers))}" if workers < cores else None


def _faster_student(recipe: Recipe) -> str | None:
    training = recipe.training
    accelerator = training.accelerator
    if has_fast_bf16(accelerator) and not takes_bf16(training.precision, accelerator):
        return "try --training.precision bf16"
    if not training.channels_last:
        return "try --training.channels_last true"
    return None if training.compile else "try --training.compile true"


def _store_teacher(_: Recipe) -> str:
    return "store its outputs (--teacher.mode joint)"


def _larger_batches(_: Recipe) -> str:
    return "larger batches (--training.batch_size) would spread it over more images"


def _nothing(_: Recipe) -> None:
    return None


_LIMITS = (
    _Limit("Waiting for data", ("data",), _more_workers),
    _Limit("Moving the batches to the device", ("transfer",), _nothing),
    _Limit("The teacher", ("teacher",), _store_teacher),
    _Limit("The student", ("student", "backward"), _faster_student),
    _Limit("The loss", ("loss",), _nothing),
    _Limit("The optimiser", ("optimiser",), _larger_batches),
    _Limit("What surrounds the networks", ("other",), _larger_batches),
)
