"""Time of a distillation step whose teacher logits are stored, against plain supervised training.

See benchmarks/README.md. Example:

    python benchmarks/store_step.py --rounds 20 --markdown docs/results/store-step.md
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from bench_page import add_outputs, add_threads, machine, machine_lines, save
from meddistill.models import count_parameters
from step_loops import STORED_LOOPS
from step_tables import STORED_COMPARISONS, columns_table, columns_text, described, ratios
from step_task import Network, Settings, Task
from train_step import check_parity, run

TWO = {"student": Network("pcd/unet", {"width": 16}), "teacher": Network("pcd/unet", {"width": 48})}
THREE = {
    "student": Network(
        "monai/unet", {"channels": (16, 32, 64, 128), "strides": (2, 2, 2), "num_res_units": 1}
    ),
    "teacher": Network(
        "monai/unet", {"channels": (48, 96, 192, 384), "strides": (2, 2, 2), "num_res_units": 1}
    ),
}
CASES: dict[str, Settings] = {
    "128 px": Settings(**TWO, size=128, batch=8),
    "224 px": Settings(**TWO, size=224, batch=4),
    "32^3": Settings(**THREE, size=32, dims=3, batch=8),
    "64^3": Settings(**THREE, size=64, dims=3, batch=2),
}
"""Student and teacher at each size; the teacher has nine times the weights of the student."""


def measure(settings: Settings) -> dict[str, Any]:
    """Check that the loops compute the same, then time them round by round.

    Raises:
        ValueError: stored logits give another first loss than the live teacher.
    """
    task = Task(settings)
    losses = {name: run(loop, task).losses for name, loop in STORED_LOOPS.items()}
    parity = check_parity(losses, references=REFERENCES, tolerance=TOLERANCE)
    rounds, order = [], list(STORED_LOOPS)
    shuffle = random.Random(settings.seed).shuffle
    for number in range(settings.rounds):
        shuffle(order)
        rounds.append({name: run(STORED_LOOPS[name], task).seconds_per_step for name in order})
        print(f"round {number + 1}/{settings.rounds}", file=sys.stderr, flush=True)
    return {
        "settings": asdict(settings),
        "student_parameters": count_parameters(task.student()),
        "teacher_parameters": count_parameters(task.teacher),
        "ratios": ratios(rounds, STORED_COMPARISONS),
        "parity": parity,
        "seconds_per_step": rounds,
    }


REFERENCES = {"supervised": "supervised/plain", "kd": "kd/live", "pcd": "pcd/live"}
"""Stored logits must give the loss that the live teacher gives."""

TOLERANCE = 2e-3
"""Half precision moves a logit by 2^-11 of its size, and a few pixels of P-CD across its thresholds."""


def markdown_page(found: Mapping[str, Any], hardware: Mapping[str, Any]) -> str:
    """The page docs/results/store-step.md: a row for each comparison, a column for each size."""
    first = next(iter(found.values()))["settings"]
    lines = [
        "# Time of a step from stored teacher logits",
        "",
        "<!-- Written by benchmarks/store_step.py --markdown; do not edit. -->",
        "",
        "Ratios of step times within one round: median over the rounds, and the middle half.",
        "benchmarks/README.md says what is compared and how to read it.",
        "",
        *(f"- {name}: {_work(result)}" for name, result in found.items()),
        f"- Adam, float32, T = {first['temperature']}, seed {first['seed']}, {first['rounds']} rounds in a "
        "new order each.",
        *machine_lines(hardware),
        "",
        *columns_table(found),
    ]
    lines += [
        "",
        "Largest relative difference of a first loss from that of the live teacher: " + _parity(found) + ".",
    ]
    return "\n".join(lines) + "\n"


def _work(result: Mapping[str, Any]) -> str:
    settings = result["settings"]
    return (
        f"student {described(settings['student'])}, {result['student_parameters']} weights; "
        f"teacher {described(settings['teacher'])}, {result['teacher_parameters']}; "
        f"batch {settings['batch']}, {settings['steps']} timed steps a round"
    )


def _parity(found: Mapping[str, Any]) -> str:
    worst = {
        name: max(entry["relative_difference"] for entry in result["parity"].values())
        for name, result in found.items()
    }
    return ", ".join(f"{name} {value:.0e}" for name, value in worst.items())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the files asked for."""
    parser = argparse.ArgumentParser(description="Time of a step from stored teacher logits.")
    parser.add_argument(
        "--only", nargs="+", choices=list(CASES), default=list(CASES), help="default: all sizes"
    )
    parser.add_argument("--rounds", type=int, default=20, help="default: 20")
    add_threads(parser)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    if given.rounds < 2:
        parser.error("rounds must be 2 or more")
    torch.set_num_threads(given.threads)
    found = {name: measure(replace(CASES[name], rounds=given.rounds)) for name in given.only}
    hardware = machine("store_step.py")
    print(columns_text(found, "step time"))
    save(given, {"hardware": hardware, "sizes": found}, markdown_page(found, hardware))


if __name__ == "__main__":
    main()
