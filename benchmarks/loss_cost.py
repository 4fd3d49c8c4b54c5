"""Cost of the losses, forward and backward, within steps of the student they belong to.

See benchmarks/README.md. Example:

    python benchmarks/loss_cost.py --json loss.json --markdown loss.md
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from bench_page import add_numbers, add_outputs, add_threads, machine, save
from loss_tables import markdown_page, text_table
from loss_task import STUDENTS, TEMPERATURE, Size, Task
from step_task import Network

TOLERANCE = 1e-5
"""Largest relative difference between losses that are the same formula."""


@dataclass(frozen=True)
class Settings:
    """What is measured; the defaults are those of the published page.

    Args:
        sizes: batches of images or volumes.
        classes: numbers of classes.
        rounds: how often every loss has its turn.
        repeats: timed steps with each loss in a turn; one more goes before them, untimed.
        students: the network whose step is the measure, by number of axes.
        seed: of labels, logits, weights and orders.
    """

    sizes: tuple[Size, ...] = ((8, 128, 128), (4, 224, 224), (2, 32, 32, 32), (2, 64, 64, 64))
    classes: tuple[int, ...] = (2, 4, 14)
    rounds: int = 20
    repeats: int = 3
    students: Mapping[int, Network] = field(default_factory=lambda: dict(STUDENTS))
    seed: int = 0


def measure(settings: Settings) -> dict[str, Any]:
    """Compare the values of the losses, then time them round by round, size by size.

    Raises:
        ValueError: two losses of the same formula differ by more than `TOLERANCE`.
    """
    cases = []
    for size in settings.sizes:
        for classes in settings.classes:
            task = Task(size, classes, settings.students, settings.seed)
            case = {"size": list(size), "classes": classes, "threshold": task.threshold}
            cases.append({**case, "parity": check_parity(task), "seconds": time_rounds(task, settings)})
            print(f"{'x'.join(map(str, size))}, {classes} classes", file=sys.stderr, flush=True)
    named = {**asdict(settings), "temperature": TEMPERATURE}
    return {"hardware": machine("loss_cost.py"), "settings": named, "cases": cases}


def check_parity(task: Task) -> dict[str, float]:
    """Relative difference of each method's loss from the plain formula.

    Raises:
        ValueError: one differs by more than `TOLERANCE`.
    """
    plain = {"supervised": task.plain_supervised, "kd": task.plain_kd, "pcd": task.plain_pcd}
    logits = task.student(task.batch["image"]).detach()
    differences = {}
    for name, formula in plain.items():
        wanted, found = formula(logits).item(), task.of(name)(logits).item()
        differences[name] = abs(found - wanted) / abs(wanted)
        if not differences[name] <= TOLERANCE:
            raise ValueError(f"{name} computes another loss than its formula: {found} instead of {wanted}")
    return differences


def time_rounds(task: Task, settings: Settings) -> list[dict[str, float]]:
    """Seconds of each loss by round, and of a plain supervised step; in each round the order is new."""
    losses, rounds = task.losses(), []
    order, shuffle = list(losses), random.Random(settings.seed).shuffle
    for _ in range(settings.rounds):
        shuffle(order)
        seconds, rest = {}, []
        for name in order:
            gc.collect()
            task.step(losses[name])
            steps = [task.step(losses[name]) for _ in range(settings.repeats)]
            seconds[name] = statistics.mean(loss for loss, _ in steps)
            rest += [other for _, other in steps]
        rounds.append({**seconds, "step": statistics.median(rest) + seconds["supervised/plain"]})
    return rounds


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    default = Settings()
    parser = argparse.ArgumentParser(description="Cost of the losses beside a step of the student.")
    parser.add_argument("--sizes", nargs="+", type=_size, metavar="BxHxW", default=default.sizes)
    parser.add_argument("--classes", nargs="+", type=int, metavar="K", default=default.classes)
    add_numbers(parser, default, ("rounds", "repeats", "seed"))
    add_threads(parser)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    if given.rounds < 2 or given.repeats < 1 or min(given.classes) < 2:
        parser.error("rounds and classes must be 2 or more, repeats 1 or more")
    return given


def _size(word: str) -> Size:
    size = tuple(int(part) for part in word.split("x"))
    if len(size) not in (3, 4):
        raise argparse.ArgumentTypeError(f"{word} is no batch: give 8x128x128 or 2x64x64x64")
    return size


def settings_from(given: argparse.Namespace) -> Settings:
    """The settings that the command line asks for."""
    numbers = {name: getattr(given, name) for name in ("rounds", "repeats", "seed")}
    return Settings(sizes=tuple(given.sizes), classes=tuple(given.classes), **numbers)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the files asked for."""
    given = parse(arguments)
    torch.set_num_threads(given.threads)
    result = measure(settings_from(given))
    print(text_table(result))
    save(given, result, markdown_page(result))


if __name__ == "__main__":
    main()
