"""One sentence on what limits a training step and what to change."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from meddistill.config import Recipe
from meddistill.training.hardware import has_fast_bf16, takes_bf16


class _Remedy(NamedTuple):
    """What to do about a part of a step, and roughly which share of it that saves, to rank remedies by."""

    words: str
    saves: float


class _Limit(NamedTuple):
    """Some parts of a step, and their remedy for a recipe; None when nothing is left to do."""

    subject: str
    parts: tuple[str, ...]
    remedy: Callable[[Recipe], _Remedy | None]


_WORTH = 0.03
"""Share of a step that a remedy must promise to save, to be named."""


def advice(shares: Mapping[str, float], recipe: Recipe) -> str:
    """What takes most of a step, and the change that promises most.

    Args:
        shares: of each of `clock.PARTS` in a step.
        recipe: what was measured.

    Example:
        >>> from meddistill.config import load_recipe
        >>> recipe = load_recipe("phantom-demo", {"teacher": {"mode": "live"}})
        >>> advice({"teacher": 0.61, "student": 0.39}, recipe)
        'The teacher takes 61 % of a step: store its outputs (--teacher.mode joint).'
    """
    sizes = {limit: sum(shares.get(part, 0.0) for part in limit.parts) for limit in _LIMITS}
    remedies = {limit: remedy for limit in _LIMITS if (remedy := limit.remedy(recipe)) is not None}
    promised = {limit: sizes[limit] * remedy.saves for limit, remedy in remedies.items()}
    largest, best = (
        max(sizes, key=lambda limit: sizes[limit]),
        max(promised, key=lambda limit: promised[limit]),
    )
    said = f"{largest.subject} takes {100 * sizes[largest]:.0f} % of a step"
    if promised[best] < _WORTH:
        return f"{said}; no switch would change much, a smaller network or smaller images would."
    if best is largest:
        return f"{said}: {remedies[best].words}."
    subject = best.subject[0].lower() + best.subject[1:]
    return f"{said}; most is to be gained at {subject}, {100 * sizes[best]:.0f} %: {remedies[best].words}."


def _more_workers(recipe: Recipe) -> _Remedy | None:
    workers, cores = recipe.training.workers, os.cpu_count() or 1
    if workers >= cores:
        return None
    return _Remedy(f"try --training.workers {min(cores, max(1, 2 * workers))}", 0.9)


def _store_teacher(recipe: Recipe) -> _Remedy | None:
    if recipe.teacher.mode != "live":
        return None
    return _Remedy("store its outputs (--teacher.mode joint)", 0.95)


def _faster_student(recipe: Recipe) -> _Remedy | None:
    training = recipe.training
    if has_fast_bf16(training.accelerator) and not takes_bf16(training.precision, training.accelerator):
        return _Remedy("try --training.precision bf16", 0.4)
    if not training.channels_last:
        return _Remedy("try --training.channels_last true", 0.25)
    return None if training.compile else _Remedy("try --training.compile true", 0.2)


def _larger_batches(_: Recipe) -> _Remedy:
    return _Remedy("larger batches (--training.batch_size) would spread it over more images", 0.3)


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
