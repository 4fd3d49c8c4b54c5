"""The time of a corruption sweep over several runs against a plain loop over the same library.

See benchmarks/README.md. Example:

    python benchmarks/sweep_speed.py --images data/busi --markdown docs/results/sweep-speed.md
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench_page import add_numbers, add_outputs, machine, machine_lines, pairs_text, save
from meddistill.data.resize import resize_image
from meddistill.evaluation import ScoreTable, score_cases
from meddistill.evaluation.corruptions import GROUPS, case_seed, corrupt
from meddistill.training.corrupted_images import default_jobs
from meddistill.training.evaluate import chosen_student
from meddistill.training.finished_runs import finished_runs
from meddistill.training.sweep import Sweep, sweep
from sweep_task import make_images, make_runs

Scores = dict[tuple[str, str, int], ScoreTable]
"""Scores by run, kind and severity."""


@dataclass(frozen=True)
class Settings:
    """What is swept: the fifteen kinds of ImageNet-C unless others are named."""

    images: str | None = None
    cases: int = 12
    pixels: int = 256
    size: int = 128
    width: int = 8
    runs: int = 3
    batch: int = 4
    rounds: int = 2
    jobs: int = 0
    kinds: tuple[str, ...] = GROUPS["imagenet-c"]
    severities: tuple[int, ...] = (1, 2, 3, 4, 5)


def plain_loop(folders: Sequence[Path], settings: Settings) -> Scores:
    """For each run, kind, severity and image: read, corrupt, resize, predict, score."""
    found: Scores = {}
    for run in finished_runs(folders):
        _, student, device = chosen_student(run.folder, run.recipe)
        cases, labels = run.data.cases("test"), run.data.dataset("test")
        for kind in settings.kinds:
            for severity in settings.severities:
                batches = [
                    {
                        "image": _corrupted(run.data, case, kind, severity),
                        "label": labels[index]["label"],
                        "case_id": [case.id],
                    }
                    for index, case in enumerate(cases.values())
                ]
                names = run.data.source.class_names
                table, _ = score_cases(student, batches, class_names=names, cases=cases, device=device)
                found[run.name, kind, severity] = table
    return found


def _corrupted(data: Any, case: Any, kind: str, severity: int) -> torch.Tensor:
    pixels = data.source.read_image(case).astype(np.float32) / 255
    made = corrupt(pixels, kind, severity, seed=case_seed(0, kind, case.id))
    saved = torch.from_numpy(np.rint(made * 255).astype(np.uint8))
    return resize_image(saved, data.config.shape, data.config.interpolation)[None].float() / 255


def swept(folders: Sequence[Path], settings: Settings, out: Path) -> Scores:
    """The same by `meddistill.training.sweep`."""
    wanted = Sweep(settings.kinds, settings.severities, settings.jobs)
    return {
        (run, stage.kind, stage.severity): table
        for stage in sweep(finished_runs(folders), wanted, out)
        for run, table in stage.tables.items()
        if isinstance(table, ScoreTable)
    }


def check_same(loop: Scores, sweep: Scores) -> float:
    """The largest difference of a case's Dice.

    Raises:
        AssertionError: the scores are not the same to 1e-4.
    """
    assert loop.keys() == sweep.keys()
    largest = 0.0
    for key, table in loop.items():
        assert table["case"].tolist() == sweep[key]["case"].tolist()
        np.testing.assert_allclose(table["dice"], sweep[key]["dice"], atol=1e-4)
        differences = np.abs(table["dice"] - sweep[key]["dice"])
        largest = max(largest, float(np.nan_to_num(differences).max()))
    return largest


def measure(settings: Settings) -> dict[str, Any]:
    """Both ways in each round, in turns; what is compiled on first use is compiled before."""
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        images = make_images(place / "images", settings.cases, size=settings.pixels, images=settings.images)
        options = {"size": settings.size, "width": settings.width, "batch": settings.batch}
        folders = make_runs(place / "runs", images, runs=settings.runs, **options)
        for kind in settings.kinds:
            corrupt(np.zeros((1, 32, 32), np.float32), kind, 1, seed=0)
        for number in range(settings.rounds):
            rounds.append(once(folders, settings, place / f"out-{number}", loop_first=number % 2 == 0))
            print(f"round {number + 1}/{settings.rounds}: {rounds[-1]}", file=sys.stderr, flush=True)
    return {
        "settings": asdict(settings),
        "rounds": rounds,
        "ratio": statistics.median(row["loop"] / row["sweep"] for row in rounds),
        "largest_difference": max(row["largest_difference"] for row in rounds),
    }


def once(folders: Sequence[Path], settings: Settings, out: Path, *, loop_first: bool) -> dict[str, float]:
    """Seconds of the loop and of the sweep, whose scores must be the same."""
    seconds: dict[str, float] = {}
    found: dict[str, Scores] = {}
    for way in ("loop", "sweep") if loop_first else ("sweep", "loop"):
        started = time.perf_counter()
        found[way] = plain_loop(folders, settings) if way == "loop" else swept(folders, settings, out)
        seconds[way] = time.perf_counter() - started
    return seconds | {"largest_difference": check_same(found["loop"], found["sweep"])}


def rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured, as (name, text)."""
    times = {way: [row[way] for row in found["rounds"]] for way in ("loop", "sweep")}
    spread = [row["loop"] / row["sweep"] for row in found["rounds"]]
    return [
        ("plain loop", f"{statistics.median(times['loop']):.1f} s"),
        ("sweep", f"{statistics.median(times['sweep']):.1f} s"),
        ("times as fast, paired", f"{found['ratio']:.2f} ({min(spread):.2f} to {max(spread):.2f})"),
        ("largest difference of a Dice score", f"{found['largest_difference']:.1e}"),
    ]


def text_table(found: Mapping[str, Any]) -> str:
    """The table for a terminal."""
    return pairs_text(rows(found))


def markdown_page(found: Mapping[str, Any], hardware: Mapping[str, Any]) -> str:
    """The page docs/results/sweep-speed.md."""
    settings = found["settings"]
    where = "a folder of images" if settings["images"] else "phantoms"
    lines = [
        "# Time of a corruption sweep",
        "",
        "<!-- Written by benchmarks/sweep_speed.py --markdown; do not edit. -->",
        "",
        "The loop corrupts each image anew for each run, in one process; the sweep corrupts it once, in",
        "several. Both read, resize, predict and score the same; benchmarks/README.md says more.",
        "",
        f"- {len(settings['kinds'])} kinds, {len(settings['severities'])} severities, {settings['runs']} "
        f"runs, {settings['cases']} test images ({where}), students pcd/unet width {settings['width']} at "
        f"{settings['size']} px, {settings['jobs']} processes; {settings['rounds']} rounds in turns.",
        *machine_lines(hardware),
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {text} |" for name, text in rows(found)),
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the files asked for."""
    default = Settings(jobs=default_jobs())
    parser = argparse.ArgumentParser(description="A corruption sweep against a plain loop.")
    parser.add_argument("--images", metavar="FOLDER", help="a class folder; default: phantoms")
    parser.add_argument("--kinds", nargs="+", default=list(default.kinds), help="default: ImageNet-C")
    parser.add_argument("--severities", type=int, nargs="+", default=list(default.severities))
    numbers = ("cases", "pixels", "size", "width", "runs", "batch", "rounds", "jobs")
    add_numbers(parser, default, numbers)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    chosen = {name: getattr(given, name) for name in numbers}
    settings = Settings(given.images, kinds=tuple(given.kinds), severities=tuple(given.severities), **chosen)
    found = measure(settings)
    hardware = machine("sweep_speed.py", "imagecorruptions-imaug")
    print(text_table(found))
    save(given, {"hardware": hardware, **found}, markdown_page(found, hardware))


if __name__ == "__main__":
    main()
