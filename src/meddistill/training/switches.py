"""The keys of a recipe that change how fast it trains, but not on what: what `--auto-tune` may change."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from meddistill.config import Recipe
from meddistill.methods import create_method
from meddistill.training.hardware import takes_bf16

Value = str | int | bool
Settings = Mapping[str, Value]
"""Values by dotted key, such as `{"training.workers": 2}`."""


class Chain(NamedTuple):
    """Values of one key to try one after another, as long as each is faster than the one before.

    Args:
        key: dotted, such as `training.workers`.
        values: without the recipe's own.
        parts: parts of a step (`clock.PARTS`) that a change can make shorter; none when it may be any.
        slow_start: the first step takes much longer, so that a change must pay for it.
    """

    key: str
    values: tuple[Value, ...]
    parts: tuple[str, ...]
    slow_start: bool = False


def value_of(recipe: Recipe, key: str) -> Value:
    """The value of a dotted key.

    Example:
        >>> from meddistill.config import load_recipe
        >>> value_of(load_recipe("phantom-demo"), "training.channels_last")
        True
    """
    section, _, name = key.partition(".")
    value: Value = getattr(getattr(recipe, section), name)
    return value


def with_values(recipe: Recipe, settings: Settings) -> Recipe:
    """`recipe` with other values.

    Example:
        >>> from meddistill.config import load_recipe
        >>> with_values(load_recipe("phantom-demo"), {"training.workers": 2}).training.workers
        2
    """
    for key, value in settings.items():
        section, _, name = key.partition(".")
        changed = getattr(recipe, section).model_copy(update={name: value})
        recipe = recipe.model_copy(update={section: changed})
    return recipe


def chains(recipe: Recipe, *, cores: int | None = None) -> list[Chain]:
    """What may be tried for a recipe, in the order of what usually helps most; compiling comes last.

    Precision is left alone unless the recipe says `auto`, and what it compiles already stays compiled.
    """
    cores = cores or os.cpu_count() or 1
    student, teacher = ("student", "backward"), ("teacher",)
    asked = create_method(**recipe.method).needs_teacher and recipe.teacher.mode == "live"
    layout = not recipe.training.channels_last
    tried = [
        *_other_precision(recipe, "training.precision", student),
        *(_other_precision(recipe, "teacher.precision", teacher) if asked else ()),
        Chain("training.channels_last", (layout,), (*student, *teacher)),
        *_workers(recipe.training.workers, cores),
    ]
    if not recipe.training.compile:
        tried.append(Chain("training.compile", (True,), student, slow_start=True))
    if asked and not recipe.teacher.compile:
        tried.append(Chain("teacher.compile", (True,), teacher, slow_start=True))
    return tried


def _other_precision(recipe: Recipe, key: str, parts: tuple[str, ...]) -> list[Chain]:
    """The precision that `auto` does not take on this machine."""
    if value_of(recipe, key) != "auto":
        return []
    other = "32" if takes_bf16("auto", recipe.training.accelerator) else "bf16"
    return [Chain(key, (other,), parts)]


def _workers(now: int, cores: int) -> list[Chain]:
    """0, 1, 2, 4 and so on up to the cores: upwards from the recipe's number, and downwards."""
    numbers = sorted({0, *(2**n for n in range(cores.bit_length())), cores})
    up = tuple(n for n in numbers if n > now)
    down = tuple(n for n in reversed(numbers) if n < now)
    key = "training.workers"
    return [chain for chain in (Chain(key, up, ("data",)), Chain(key, down, ())) if chain.values]
