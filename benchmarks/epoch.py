"""Time of a whole epoch of distillation: meddistill live and stored, a plain PyTorch loop, torchdistill.

See benchmarks/README.md. Example:

    python benchmarks/epoch.py --rounds 7 --markdown docs/results/epoch.md
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import torch
from torch import Tensor

from bench_page import add_numbers, add_outputs, add_threads, machine, machine_lines, save
from meddistill.config import TrainingConfig
from meddistill.models import count_parameters
from meddistill.teachers import Teacher
from meddistill.training.callbacks import Recorder
from meddistill.training.fit import build_trainer
from meddistill.training.hardware import has_fast_bf16, set_layout
from meddistill.training.module import DistillationModule
from meddistill.training.run_folder import RunFolder
from step_loops import plain_kd, quiet, torchdistill_kd, torchdistill_version
from step_tables import described, ratios
from step_task import Network, Settings, Task

DEFAULT = Settings(
    student=Network("pcd/unet", {"width": 16}),
    teacher=Network("pcd/unet", {"width": 48}),
    size=128,
    augment="light",
    batch=8,
    steps=15,
    rounds=7,
)


@dataclass(frozen=True)
class Switches:
    """How meddistill runs: as the peers do, or as `meddistill train --auto-tune` chooses on this machine."""

    bf16: bool = False
    channels_last: bool = False


Epoch = Callable[[Task], float]
"""Trains for an epoch that is timed after one that is not, and returns its seconds."""


def peer(loop: Callable[[Task, Callable[[Tensor], None]], None]) -> Epoch:
    """A loop of `step_loops`, run twice: the first time warms up."""

    def epoch(task: Task) -> float:
        loop(task, _ignore)
        started = time.perf_counter()
        loop(task, _ignore)
        return time.perf_counter() - started

    return epoch


def _ignore(_loss: Tensor) -> None:
    """Keep nothing."""


def meddistill(switches: Switches, *, stored: bool) -> Epoch:
    """Two epochs of what `meddistill train` runs, of which the second is timed, its checkpoint included."""

    def epoch(task: Task) -> float:
        settings = task.settings
        config = TrainingConfig(
            epochs=2,
            batch_size=settings.batch,
            lr=settings.lr,
            precision="bf16" if switches.bf16 else "32",
            channels_last=switches.channels_last,
            accelerator="cpu",
        )
        student, method = task.student(), task.methods["kd"]
        teacher = None if stored else Teacher(task.teacher, dtype=torch.bfloat16 if switches.bf16 else None)
        if switches.channels_last:
            set_layout(settings.dims, student)
        with TemporaryDirectory() as folder, quiet():
            run = RunFolder(Path(folder))
            recorder = Recorder(run, task.spec, config, has_selection=False)
            trainer = build_trainer(config, run, recorder)
            stopwatch = Stopwatch()
            trainer.callbacks.append(stopwatch)
            module = DistillationModule(student, method, teacher, config, num_classes=2, seed=settings.seed)
            with _layout_of_teacher(task, switches):
                trainer.fit(module, task.loader(stored=stored))
        return stopwatch.ended - stopwatch.started[1]

    return epoch


def _layout_of_teacher(task: Task, switches: Switches) -> ExitStack:
    """The shared teacher with its channels last, and as it was afterwards."""
    stack = ExitStack()
    if switches.channels_last:
        set_layout(task.settings.dims, task.teacher)
        stack.callback(task.teacher.to, memory_format=torch.contiguous_format)
    return stack


class Stopwatch(L.Callback):
    """Notes when each epoch starts and when training ends."""

    def __init__(self) -> None:
        self.started: list[float] = []
        self.ended = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        self.started.append(time.perf_counter())

    def on_train_end(self, *_: Any) -> None:
        self.ended = time.perf_counter()


def tuned() -> Switches:
    """What is fast here: bfloat16 where the hardware has it, and channels last."""
    return Switches(bf16=has_fast_bf16("cpu"), channels_last=True)


def epochs() -> dict[str, Epoch]:
    """What is timed; torchdistill only where it is installed."""
    found = {
        "plain loop": peer(plain_kd),
        "plain loop again": peer(plain_kd),
        "meddistill live, as the peers": meddistill(Switches(), stored=False),
        "meddistill stored, as the peers": meddistill(Switches(), stored=True),
        "meddistill live": meddistill(tuned(), stored=False),
        "meddistill stored": meddistill(tuned(), stored=True),
    }
    if torchdistill_version() is not None:
        found["torchdistill"] = peer(torchdistill_kd)
    return found


BEST = "best peer"
"""The faster of plain loop and torchdistill in a round."""

COMPARISONS = {
    "Noise": [("plain loop against itself", "plain loop again", "plain loop")],
    "Seconds of a peer over those of meddistill, float32 and layout as the peers": [
        ("best peer / live", BEST, "meddistill live, as the peers"),
        ("best peer / stored", BEST, "meddistill stored, as the peers"),
        ("live / stored", "meddistill live, as the peers", "meddistill stored, as the peers"),
    ],
    "Seconds of a peer over those of meddistill, with the precision and layout that are fast here": [
        ("best peer / live", BEST, "meddistill live"),
        ("best peer / stored", BEST, "meddistill stored"),
        ("plain loop / live", "plain loop", "meddistill live"),
        ("plain loop / stored", "plain loop", "meddistill stored"),
        ("torchdistill / live", "torchdistill", "meddistill live"),
        ("torchdistill / stored", "torchdistill", "meddistill stored"),
    ],
}


def measure(settings: Settings) -> dict[str, Any]:
    """Time all epochs round by round, and the writing of the store once."""
    task, timed = Task(settings), epochs()
    started = time.perf_counter()
    _ = task.stored
    writing = time.perf_counter() - started
    rounds, order = [], list(timed)
    shuffle = random.Random(settings.seed).shuffle
    for number in range(settings.rounds):
        shuffle(order)
        seconds = {name: timed[name](task) for name in order}
        seconds[BEST] = min(seconds[name] for name in ("plain loop", "torchdistill") if name in seconds)
        rounds.append(seconds)
        print(f"round {number + 1}/{settings.rounds}", file=sys.stderr, flush=True)
    return {
        "settings": asdict(settings),
        "switches": asdict(tuned()),
        "images": len(task.order),
        "student_parameters": count_parameters(task.student()),
        "teacher_parameters": count_parameters(task.teacher),
        "writing_seconds": writing,
        "seconds": rounds,
        "ratios": ratios(rounds, COMPARISONS),
    }


def text_table(result: Mapping[str, Any]) -> str:
    """The ratios for a terminal."""
    lines, group = [], None
    for row in result["ratios"]:
        if row["group"] != group:
            group = row["group"]
            lines.append(group)
        lines.append(f"  {row['what']:<32}{row['median']:>7.2f}  {_spread(row)}")
    return "\n".join(lines)


def markdown_page(result: Mapping[str, Any], hardware: Mapping[str, Any]) -> str:
    """The page docs/results/epoch.md."""
    settings, switches = result["settings"], result["switches"]
    usual = sorted(row["meddistill stored"] for row in result["seconds"])[len(result["seconds"]) // 2]
    axes = "x".join([str(settings["size"])] * settings["dims"])
    lines = [
        "# Time of an epoch of distillation",
        "",
        "<!-- Written by benchmarks/epoch.py --markdown; do not edit. -->",
        "",
        "Whole epochs on the same student, teacher, images, batches, augmentation and loss; each loop as its",
        "users run it. Ratios within one round: median, middle half, range. More in benchmarks/README.md.",
        "",
        f"- Work: {result['images']} images of {axes} in batches of {settings['batch']}, augmentation "
        f"{settings['augment']!r}, KD with T = {settings['temperature']}, Adam.",
        f"- Student {described(settings['student'])}, {result['student_parameters']} weights; teacher "
        f"{described(settings['teacher'])}, {result['teacher_parameters']}.",
        f'- "Fast here": {"bfloat16" if switches["bf16"] else "float32"} for both networks, channels last.',
        f"- Writing the store once took {result['writing_seconds']:.1f} s, as long as "
        f"{result['writing_seconds'] / usual:.1f} epochs from it.",
        f"- Rounds: {settings['rounds']}, in a new order each; every loop runs an untimed epoch before its "
        "timed one.",
        *machine_lines(hardware),
        "",
        "| ratio of epoch times | median | middle half | min–max |",
        "|---|---|---|---|",
    ]
    group = None
    for row in result["ratios"]:
        if row["group"] != group:
            group = row["group"]
            lines.append(f"| **{group}** | | | |")
        half, rest = _spread(row).split("  ")
        lines.append(f"| {row['what']} | {row['median']:.2f} | {half} | {rest} |")
    return "\n".join(lines) + "\n"


def _spread(row: Mapping[str, float]) -> str:
    return f"{row['quarter']:.2f}–{row['three_quarters']:.2f}  {row['low']:.2f}–{row['high']:.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the files asked for."""
    parser = argparse.ArgumentParser(description="Time of an epoch of distillation, as ratios between loops.")
    add_numbers(parser, DEFAULT, ("size", "batch", "steps", "rounds", "seed"))
    parser.add_argument("--augment", default=DEFAULT.augment, help=f"default: {DEFAULT.augment}")
    add_threads(parser)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    chosen = {name: getattr(given, name) for name in ("size", "batch", "steps", "rounds", "seed", "augment")}
    result = measure(replace(DEFAULT, **chosen))
    hardware = machine("epoch.py", "torchdistill")
    print(text_table(result))
    save(given, {"hardware": hardware, **result}, markdown_page(result, hardware))


if __name__ == "__main__":
    main()
