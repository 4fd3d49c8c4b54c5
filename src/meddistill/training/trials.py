"""The process that measures for `--auto-tune`, from inside: `python -m meddistill.training.trials`.

The first line of standard input names the recipe, every other line two settings to compare; each is answered
by one line of JSON. See `trial_process.TrialProcess`, which starts it.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import queue
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import torch

from meddistill.config.load import check_recipe
from meddistill.errors import MedDistillError
from meddistill.training.assembly import assemble
from meddistill.training.clock import Spread, shares, waiting_for
from meddistill.training.data import TaskData
from meddistill.training.steps import StepLoop
from meddistill.training.switches import Settings, with_values
from meddistill.training.trial import LEAST_ROUNDS

_MOST_ROUNDS = 15

_HOPELESS = (4, 1.1)
"""A change that is slower than this factor in each of so many first rounds is not measured further."""

_TURN = 0.15
"""Seconds that the steps of a turn should last, so that a hiccup does not decide a round."""


class Trials:
    """Step loops of a recipe with different settings, measured against each other.

    Args:
        recipe: plain values of a recipe.
    """

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        self.recipe = check_recipe(recipe)
        self._loops: dict[str, StepLoop] = {}

    @cached_property
    def data(self) -> TaskData:
        """The images, shared by all loops."""
        return TaskData.from_config(self.recipe.data, seed=self.recipe.seed)

    def baseline(self) -> dict[str, Any]:
        """Share of each part in a step of the recipe as it is, and how many steps its training takes."""
        loop = self._loop({})
        loop.step()
        loop.settle()
        with loop.clocked() as clock:
            for _ in range(6):
                with clock.step():
                    loop.step()
        batches = len(loop.task.training_loader())
        return {"shares": shares(clock.steps), "steps": batches * self.recipe.training.epochs}

    def compare(self, without: Settings, change: Settings, seconds: float) -> dict[str, Any]:
        """Let both take turns for about `seconds`; ratios of their step times, round by round."""
        old = self._loop(without)
        self._loops = {_name(without): old}  # of the loops before, nothing else is needed again
        new = self._made(change)
        first = _seconds(new, 1)
        rounds = list(_rounds(old, new, seconds))
        self._loops[_name(change)] = new
        usual = Spread.of(was for was, _ in rounds).median
        ratios = [became / was for was, became in rounds]
        return {"ratios": ratios, "step_seconds": usual, "start_seconds": max(0.0, first - usual)}

    def forget(self) -> None:
        """Let go of everything that a failure may have spoiled or filled the memory with."""
        self._loops.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _loop(self, settings: Settings) -> StepLoop:
        name = _name(settings)
        if name not in self._loops:
            self._loops[name] = self._made(settings)
        return self._loops[name]

    def _made(self, settings: Settings) -> StepLoop:
        return StepLoop(assemble(with_values(self.recipe, settings), self.data))


def _name(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True)


def _rounds(old: StepLoop, new: StepLoop, seconds: float) -> Iterator[tuple[float, float]]:
    """Seconds of a step without and with the change, in rounds that change their order."""
    steps = {loop: min(20, max(1, round(_TURN / _turn(loop, 1)))) for loop in (old, new)}
    begun, best = time.monotonic(), float("inf")
    for number in range(_MOST_ROUNDS):
        late = number >= LEAST_ROUNDS and time.monotonic() - begun >= seconds
        if late or (number >= _HOPELESS[0] and best > _HOPELESS[1]):
            return
        order = (old, new) if number % 2 == 0 else (new, old)
        taken = {loop: _turn(loop, steps[loop]) for loop in order}
        best = min(best, taken[new] / taken[old])
        yield taken[old], taken[new]


def _turn(loop: StepLoop, steps: int) -> float:
    """Seconds of a step, after those that should not be timed."""
    loop.settle()
    return _seconds(loop, steps) / steps


def _seconds(loop: StepLoop, steps: int) -> float:
    wait = waiting_for(loop.device)
    wait()
    begun = time.perf_counter()
    for _ in range(steps):
        loop.step()
    wait()
    return time.perf_counter() - begun


def _questions() -> Iterator[dict[str, Any]]:
    """The lines of standard input; at its end, when nobody asks any more, this process ends at once.

    They are read from a copy of it. A loader's worker is a copy of this process and begins by closing
    `sys.stdin`, for which it would wait for ever while a thread here waits for a line of it.
    """
    lines: queue.Queue[str] = queue.Queue()
    copy = os.fdopen(os.dup(0), encoding="utf-8")

    def read() -> None:
        for line in copy:
            lines.put(line)
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield json.loads(lines.get())


def answer(question: Mapping[str, Any], trials: Trials) -> dict[str, Any]:
    """What is known of the question; `failed` says why nothing is."""
    try:
        return trials.compare(**question) if question else trials.baseline()
    except MedDistillError as error:
        reason = str(error)
    except Exception as error:  # whatever a compiler or a driver may raise: the next trial has its chance
        reason = f"{type(error).__name__}: {error}"
    trials.forget()
    return {"failed": next(iter(reason.splitlines()), "")[:300]}


def main() -> None:
    """Answer questions until nobody asks any more."""
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed must not look like an answer
    questions = _questions()
    first = next(questions)
    torch.set_num_threads(first["threads"])
    trials = Trials(first["recipe"])
    for question in itertools.chain([{}], questions):
        print(json.dumps(answer(question, trials)), file=answers, flush=True)


if __name__ == "__main__":
    main()
