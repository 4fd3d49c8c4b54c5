"""Time of the metrics against MONAI, medpy and a plain loop in numpy, on the same masks.

See benchmarks/README.md. Example:

    python benchmarks/metric_speed.py --masks data/busi --markdown docs/results/metric-speed.md
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import torch

import metric_task
from bench_page import add_numbers, add_outputs, add_threads, machine, machine_lines, save
from loss_tables import Spread, milliseconds, spread
from metric_task import Scores, Task

Way = Callable[[Task], Scores]

OURS = "meddistill"

TOLERANCE = {"MONAI": 1e-5, "medpy": 1e-9, "numpy loop": 1e-9, "released loop": 1e-9}
"""Largest relative difference of a score; MONAI computes in float32."""

REFERENCES: dict[str, Way] = {
    "MONAI": metric_task.surfaces_monai,
    "medpy": metric_task.surfaces_from_medpy,
    "numpy loop": metric_task.overlaps_loop,
    "released loop": metric_task.overlaps_released,
}
"""What our scores are compared with; medpy's `hd95` is defined otherwise, so its distances are taken."""


@dataclass(frozen=True)
class Settings:
    """What is scored, and how often.

    Args:
        masks: folder with real masks, or None.
        cases: images in a batch.
        size: of an image.
        side: of a volume.
        classes: numbers of classes of the overlap scores.
        rounds: how often every way has its turn.
        seed: of masks and orders.
    """

    masks: str | None = None
    cases: int = 16
    size: int = 256
    side: int = 128
    classes: tuple[int, ...] = (2, 4, 12)
    rounds: int = 10
    seed: int = 0


def surface_tasks(settings: Settings) -> Iterator[Task]:
    """Lesions in images, and an organ with lesions, predicted well and badly."""
    rng = np.random.default_rng(settings.seed)
    size, side = settings.size, settings.side
    drawn = metric_task.lesions(settings.cases, size, 2, rng)
    yield Task.of(f"{settings.cases} lesions, {size} px", drawn, 2, size / 100, rng)
    if settings.masks is not None:
        real = metric_task.masks_of_files(Path(settings.masks), settings.cases, size)
        yield Task.of(f"{len(real)} real masks, {size} px", real, 2, size / 100, rng)
    volume = metric_task.organ(side, rng)
    yield Task.of(f"organ and lesions, {side}^3", volume, 3, side / 100, rng)
    yield Task.of(f"the same, predicted badly, {side}^3", volume, 3, side / 20, rng)


def overlap_tasks(settings: Settings) -> Iterator[Task]:
    """Images of few and many classes, and a volume; in int64, as `argmax` gives them, and in bytes."""
    rng = np.random.default_rng(settings.seed)
    for classes in settings.classes:
        drawn = metric_task.lesions(settings.cases, settings.size, classes, rng)
        name = f"{settings.cases} images, {settings.size} px, {classes} classes"
        task = Task.of(name, drawn, classes, settings.size / 100, rng)
        yield from (task, task.in_bytes())
    volume = metric_task.organ(settings.side, rng)
    task = Task.of(f"volume, {settings.side}^3, 3 classes", volume, 3, settings.side / 100, rng)
    yield from (task, task.in_bytes())


def surface_ways() -> dict[str, Way]:
    """HD95 and ASD; medpy where it is installed."""
    ways: dict[str, Way] = {OURS: metric_task.surfaces_meddistill, "MONAI": metric_task.surfaces_monai}
    return ways | ({"medpy": metric_task.surfaces_medpy} if util.find_spec("medpy") else {})


def overlap_ways() -> dict[str, Way]:
    """Dice, IoU and precision."""
    return {
        OURS: metric_task.overlaps_meddistill,
        "numpy loop": metric_task.overlaps_loop,
        "released loop": metric_task.overlaps_released,
    }


def measure(settings: Settings) -> dict[str, Any]:
    """Compare the scores of every task, then time them round by round.

    Raises:
        ValueError: a peer has other scores.
    """
    found: dict[str, Any] = {"settings": asdict(settings), "surfaces": [], "overlaps": []}
    for kind, tasks, ways in (
        ("surfaces", surface_tasks(settings), surface_ways()),
        ("overlaps", overlap_tasks(settings), overlap_ways()),
    ):
        for task in tasks:
            case = {"name": task.name, "dice": mean_dice(task), "parity": check_parity(task, ways)}
            found[kind].append({**case, "seconds": time_rounds(task, ways, settings)})
            print(task.name, file=sys.stderr, flush=True)
    return found


def mean_dice(task: Task) -> float:
    """How good the predictions are."""
    return float(metric_task.overlaps_meddistill(task)[..., 0].mean())


def check_parity(task: Task, ways: Mapping[str, Way]) -> dict[str, float]:
    """The largest relative difference of a score of each peer from ours.

    Raises:
        ValueError: one is above `TOLERANCE`.
    """
    ours, differences = ways[OURS](task), {}
    for name in ways:
        if name == OURS:
            continue
        theirs, limit = REFERENCES[name](task), TOLERANCE[name]
        differences[name] = float(np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-9)))
        if not differences[name] <= limit:
            raise ValueError(f"{name} has other scores of {task.name}, by {differences[name]:.0e}")
    return differences


def time_rounds(task: Task, ways: Mapping[str, Way], settings: Settings) -> list[dict[str, float]]:
    """Seconds per case of each way by round; in each round the order is new."""
    order, shuffle, rounds = list(ways), random.Random(settings.seed).shuffle, []
    for _ in range(settings.rounds):
        shuffle(order)
        rounds.append({name: seconds_of(ways[name], task) for name in order})
    return rounds


def seconds_of(way: Way, task: Task) -> float:
    """Seconds per case of one call."""
    started = time.perf_counter()
    way(task)
    return (time.perf_counter() - started) / len(task.label)


def speedup(case: Mapping[str, Any], peer: str) -> Spread:
    """How many times as long the peer takes, formed within each round."""
    return spread(case["seconds"], lambda seconds: seconds[peer] / seconds[OURS])


def rows(found: Mapping[str, Any], kind: str) -> Iterator[tuple[str, ...]]:
    """For each task and peer: task, mean Dice, peer, ms per case of both, how many times as fast."""
    for case in found[kind]:
        for peer in case["parity"]:
            ours, theirs = milliseconds(case, OURS), milliseconds(case, peer)
            times = speedup(case, peer)
            yield (
                case["name"],
                f"{case['dice']:.2f}",
                peer,
                f"{theirs.median:.2f}",
                f"{ours.median:.2f}",
                f"{times.median:.1f} ({times.quarter:.1f}–{times.three_quarters:.1f})",
            )


TITLES = {
    "surfaces": "HD95 and average surface distance",
    "overlaps": "Dice, IoU and precision",
}

COLUMNS = ("masks", "Dice", "peer", "peer, ms", "meddistill, ms", "times as fast")


def text_table(found: Mapping[str, Any]) -> str:
    """Both tables for a terminal."""
    lines = []
    for kind, title in TITLES.items():
        lines += [title, *("  ".join(f"{cell:<24}" for cell in row) for row in (COLUMNS, *rows(found, kind)))]
    return "\n".join(lines)


def markdown_page(found: Mapping[str, Any], hardware: Mapping[str, Any]) -> str:
    """The page docs/results/metric-speed.md."""
    settings = found["settings"]
    worst: dict[str, float] = {}
    for case in found["surfaces"] + found["overlaps"]:
        for peer, difference in case["parity"].items():
            worst[peer] = max(difference, worst.get(peer, 0.0))
    differences = ", ".join(f"{peer} {difference:.0e}" for peer, difference in worst.items())
    lines = [
        "# Time of the metrics",
        "",
        "<!-- Written by benchmarks/metric_speed.py --markdown; do not edit. -->",
        "",
        "Milliseconds per case, medians over the rounds; benchmarks/README.md says what is compared.",
        "",
        f"- Rounds: {settings['rounds']}, every way once in each, in a new order. Ratios are formed within a "
        "round: median (middle half).",
        f"- Before timing, scores were compared; largest relative difference: {differences}.",
        *machine_lines(hardware),
    ]
    for kind, title in TITLES.items():
        lines += ["", f"## {title}", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in rows(found, kind)]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the files asked for."""
    default = Settings()
    parser = argparse.ArgumentParser(description="Time of the metrics against MONAI, medpy and a numpy loop.")
    parser.add_argument("--masks", metavar="FOLDER", help="real masks, *_mask.png; default: none")
    add_numbers(parser, default, ("cases", "size", "side", "rounds", "seed"))
    add_threads(parser)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    if given.rounds < 2:
        parser.error("rounds must be 2 or more")
    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
    names = ("masks", "cases", "size", "side", "rounds", "seed")
    found = measure(Settings(**{name: getattr(given, name) for name in names}))
    hardware = machine("metric_speed.py", "scipy", "medpy")
    print(text_table(found))
    save(given, {"hardware": hardware, **found}, markdown_page(found, hardware))


if __name__ == "__main__":
    main()
