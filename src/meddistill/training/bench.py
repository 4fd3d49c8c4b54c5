"""`bench`: where the time of a training step goes on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meddistill.config import Recipe
from meddistill.training.assembly import assemble
from meddistill.training.clock import PARTS, Spread, shares
from meddistill.training.hardware import describe
from meddistill.training.memory import PeakMemory, forget_device_peak, peak_memory
from meddistill.training.steps import StepLoop

_EVERY = 5.0
"""Seconds between two words on how far the measuring is."""


@dataclass(frozen=True)
class Bench:
    """What was measured.

    Args:
        recipe: what was trained.
        device: where.
        images: images in one step on this device.
        steps: seconds of each part of each step, the parts being `clock.PARTS`.
        memory: the most that was used.
    """

    recipe: Recipe
    device: str
    images: int
    steps: tuple[Mapping[str, float], ...]
    memory: PeakMemory

    @property
    def parts(self) -> dict[str, Spread]:
        """Seconds of each part in a step."""
        return {part: Spread.of(step[part] for step in self.steps) for part in PARTS}

    @property
    def whole(self) -> Spread:
        """Seconds of a step."""
        return Spread.of(sum(step.values()) for step in self.steps)

    @property
    def shares(self) -> dict[str, float]:
        """Share of each part in all the time that was measured; a part that is slow now and then counts."""
        return shares(self.steps)

    @property
    def images_per_second(self) -> float:
        """Over all the time that was measured."""
        return self.images * len(self.steps) / sum(sum(step.values()) for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values; times in seconds, memory in bytes."""
        shares = self.shares
        parts = {part: {**spread._asdict(), "share": shares[part]} for part, spread in self.parts.items()}
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "device": self.device,
            "parts": parts,
            "step": self.whole._asdict(),
            "images_per_step": self.images,
            "images_per_second": self.images_per_second,
            "peak_memory": self.memory._asdict(),
            "seconds_per_step": [dict(step) for step in self.steps],
            "machine": describe(),
        }


def bench(recipe: Recipe, *, steps: int = 30, say: Callable[[str], None] = lambda _: None) -> Bench:
    """Take a few training steps and note where their time goes; nothing is written.

    The first steps are not timed. On an accelerator every part is waited for, so that parts cannot overlap as
    they do in training, where the whole step is no slower.

    Args:
        recipe: what to train.
        steps: how many to time, 2 or more.
        say: is told now and then how far the measuring is.

    Raises:
        DataError: the data cannot be used.
        TeacherError: the teacher cannot be loaded or does not fit.
        ConfigError: the network cannot be built, a teacher is missing, or this machine lacks the hardware.
        RunError: the loss became infinite.
    """
    say("reading the images and the networks")
    loop = StepLoop(assemble(recipe))
    training, teacher = recipe.training, recipe.teacher
    compiles = training.compile or (teacher.compile and loop.task.teacher is not None)
    say("first steps, not timed" + ("; compiling takes minutes" if compiles else ""))
    loop.step()
    loop.settle()
    forget_device_peak(loop.device)
    last = time.monotonic()
    with loop.clocked() as clock:
        for number in range(steps):
            with clock.step():
                images = loop.step()
            if time.monotonic() - last > _EVERY:
                last = time.monotonic()
                say(f"step {number + 1} of {steps}")
    return Bench(recipe, str(loop.device), images, tuple(clock.steps), peak_memory(loop.device))
