"""Time of an epoch of RoS-KD from four stored teachers, against supervised training of the same student.

See benchmarks/README.md. Example:

    python benchmarks/ensemble_epoch.py --rounds 10 --markdown docs/results/ensemble-epoch.md
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from bench_page import add_outputs, add_threads, machine, machine_lines, save
from ensemble_task import CASES, Bench, Settings
from meddistill.models import count_parameters
from meddistill.training.assembly import assemble
from step_tables import Comparisons, columns_table, columns_text, described, ratios

COMPARISONS: Comparisons = {
    "Noise": [("supervised training against itself", "supervised again", "supervised")],
    "From the store, against supervised training": [
        ("RoS-KD, 4 teachers / supervised", "stored", "supervised"),
        ("RoS-KD, 4 teachers / plain loop", "stored", "plain loop"),
        ("KD, mean of 4 teachers / supervised", "mean", "supervised"),
    ],
    "With the live teachers": [("RoS-KD, 4 teachers / supervised", "live", "supervised")],
}


def measure(settings: Settings) -> dict[str, Any]:
    """Time all ways round by round.

    Raises:
        ValueError: stored logits give another first loss than the live teachers.
    """
    with TemporaryDirectory() as folder:
        bench = Bench(settings, Path(folder))
        ways = bench.ways()
        rounds, order = [], list(ways)
        shuffle = random.Random(settings.seed).shuffle
        for number in range(settings.rounds):
            shuffle(order)
            rounds.append({name: ways[name]() for name in order})
            print(f"round {number + 1}/{settings.rounds}", file=sys.stderr, flush=True)
        student = assemble(bench.recipe("supervised")).student
    return {
        "settings": asdict(settings),
        "student_parameters": count_parameters(student),
        "writing_seconds": bench.written["stochastic"],
        "ratios": ratios(rounds, COMPARISONS),
        "seconds": rounds,
    }


def markdown_page(found: Mapping[str, Any], hardware: Mapping[str, Any]) -> str:
    """The page docs/results/ensemble-epoch.md: a row for each comparison, a column for each case."""
    lines = [
        "# Time of an epoch from four stored teachers",
        "",
        "<!-- Written by benchmarks/ensemble_epoch.py --markdown; do not edit. -->",
        "",
        "Ratios of the times of whole epochs within one round: median over the rounds, and the middle half.",
        "benchmarks/README.md says what is compared and how to read it.",
        "",
        *(f"- {name}: {_work(result)}" for name, result in found.items()),
        *machine_lines(hardware),
        "",
        *columns_table(found),
    ]
    return "\n".join(lines) + "\n"


def _work(result: Mapping[str, Any]) -> str:
    settings = result["settings"]
    teachers = ", ".join(described(network) for network in settings["teachers"])
    return (
        f"{settings['images']} images in batches of {settings['batch']}, {settings['classes']} classes or "
        f"labels; student {described(settings['student'])}, {result['student_parameters']} weights; teachers "
        f"{teachers}; {settings['encoding']}, written once in {result['writing_seconds']:.1f} s; "
        f"{settings['rounds']} rounds, Adam, float32"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the files asked for."""
    parser = argparse.ArgumentParser(description="Time of an epoch from four stored teachers, as ratios.")
    parser.add_argument(
        "--only", nargs="+", choices=list(CASES), default=list(CASES), help="default: all cases"
    )
    parser.add_argument("--rounds", type=int, default=10, help="default: 10")
    parser.add_argument("--images", type=int, help="in an epoch; default: those of the case")
    add_threads(parser)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    if given.rounds < 2:
        parser.error("rounds must be 2 or more")
    torch.set_num_threads(given.threads)
    found = {}
    for name in given.only:
        settings = replace(CASES[name], rounds=given.rounds)
        found[name] = measure(replace(settings, images=given.images or settings.images))
    hardware = machine("ensemble_epoch.py")
    print(columns_text(found, "epoch time"))
    save(given, {"hardware": hardware, "cases": found}, markdown_page(found, hardware))


if __name__ == "__main__":
    main()
