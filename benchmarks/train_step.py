"""Time of a training step: meddistill, a plain PyTorch loop and torchdistill on the same work.

See benchmarks/README.md. Example:

    python benchmarks/train_step.py --rounds 20 --json step.json --markdown step.md
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
import yaml
from torch import Tensor

from bench_page import add_numbers, add_outputs, add_threads, machine, save
from step_loops import LOOPS, Loop, torchdistill_version
from step_tables import markdown_page, ratios, text_table
from step_task import Network, Settings, Task

TOLERANCE = 1e-5
"""Largest relative difference between the first losses of loops that compute the same."""

REFERENCES = {"supervised": "supervised/plain", "kd": "kd/plain", "pcd": "pcd/method"}
"""The loop that others of the same work must agree with."""


class Clock:
    """Notes the time and the loss of each step."""

    def __init__(self) -> None:
        self.stamps: list[float] = []
        self.losses: list[float] = []

    def __call__(self, loss: Tensor) -> None:
        self.losses.append(float(loss.detach()))
        self.stamps.append(time.perf_counter())

    @property
    def seconds_per_step(self) -> float:
        """From the end of the first step to the end of the last: fetching the batch is included."""
        return (self.stamps[-1] - self.stamps[0]) / (len(self.stamps) - 1)


def run(loop: Loop, task: Task) -> Clock:
    """One turn of a loop."""
    gc.collect()
    clock = Clock()
    loop(task, clock)
    return clock


def measure(settings: Settings) -> dict[str, Any]:
    """Check that the loops compute the same, then time them round by round.

    Raises:
        ValueError: two loops of the same work differ in their first loss by more than `TOLERANCE`.
    """
    loops, skipped = _installed()
    task = Task(settings)
    parity = check_parity({name: run(loop, task).losses for name, loop in loops.items()})
    rounds, order = [], list(loops)
    shuffle = random.Random(settings.seed).shuffle
    for number in range(settings.rounds):
        shuffle(order)
        seconds = {name: run(loops[name], task).seconds_per_step for name in order}
        rounds.append(seconds)
        print(f"round {number + 1}/{settings.rounds}", file=sys.stderr, flush=True)
    return {
        "hardware": machine("train_step.py", "torchdistill"),
        "settings": asdict(settings),
        "ratios": ratios(rounds),
        "parity": parity,
        "skipped": skipped,
        "seconds_per_step": rounds,
    }


def _installed() -> tuple[dict[str, Loop], dict[str, str]]:
    if torchdistill_version() is not None:
        return dict(LOOPS), {}
    reason = "torchdistill is not installed; pip install 'meddistill[bench]'"
    return {name: loop for name, loop in LOOPS.items() if name != "kd/torchdistill"}, {
        "kd/torchdistill": reason
    }


def check_parity(
    losses: Mapping[str, Sequence[float]],
    *,
    references: Mapping[str, str] = REFERENCES,
    tolerance: float = TOLERANCE,
) -> dict[str, dict[str, Any]]:
    """Compare the first loss of each loop with that of the reference loop of the same work.

    Later losses are kept beside it: Adam makes rounding errors grow from step to step.

    Raises:
        ValueError: a first loss differs by more than `tolerance`.

    Example:
        >>> check_parity({"kd/plain": [2.0, 1.5], "kd/shell": [2.0, 1.4]})["kd/shell"]["relative_difference"]
        0.0
    """
    found: dict[str, dict[str, Any]] = {}
    for name, values in losses.items():
        reference = references[name.partition("/")[0]]
        first, wanted = values[0], losses[reference][0]
        difference = abs(first - wanted) / abs(wanted)
        if not difference <= tolerance:
            raise ValueError(f"{name} computes another loss than {reference}: {first} instead of {wanted}")
        found[name] = {
            "reference": reference,
            "first_loss": first,
            "relative_difference": difference,
            "losses": list(values),
        }
    return found


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    default = Settings()
    parser = argparse.ArgumentParser(description="Time of a training step, as ratios between loops.")
    for who in ("student", "teacher"):
        network = getattr(default, who)
        options = " ".join(f"{name}={value}" for name, value in network.options.items())
        parser.add_argument(
            f"--{who}",
            nargs="+",
            metavar=("NAME", "OPTION=VALUE"),
            help=f"a network of create_model and its options (default: {network.name} {options})",
        )
    add_numbers(parser, default, ("size", "batch", "steps", "rounds", "seed"))
    add_threads(parser)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    if min(given.steps, given.batch, given.rounds) < 2:
        parser.error("steps, batch and rounds must be 2 or more")
    return given


def settings_from(given: argparse.Namespace) -> Settings:
    """The settings that the command line asks for."""
    numbers = {name: getattr(given, name) for name in ("size", "batch", "steps", "rounds", "seed")}
    networks = {who: _network(words) for who in ("student", "teacher") if (words := getattr(given, who))}
    return Settings(**networks, **numbers)


def _network(words: Sequence[str]) -> Network:
    name, *options = words
    pairs = (option.partition("=") for option in options)
    return Network(name, {key: yaml.safe_load(value) for key, _, value in pairs})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the files asked for."""
    given = parse(arguments)
    torch.set_num_threads(given.threads)
    result = measure(settings_from(given))
    print(text_table(result))
    save(given, result, markdown_page(result))


if __name__ == "__main__":
    main()
