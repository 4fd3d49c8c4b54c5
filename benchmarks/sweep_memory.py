"""Memory of a corruption sweep and of an evaluation against the number of images.

See benchmarks/README.md. Example:

    python benchmarks/sweep_memory.py --cases 16 128 --markdown docs/results/sweep-memory.md
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench_page import add_numbers, add_outputs, machine, machine_lines, save
from memory import resident
from sweep_task import make_images, make_runs

WAYS = ("sweep", "evaluate")


@dataclass(frozen=True)
class Settings:
    """What is measured: one run on phantoms of one size, in files."""

    cases: tuple[int, ...] = (16, 128)
    pixels: int = 256
    size: int = 128
    width: int = 8
    batch: int = 4
    jobs: int = 1
    kinds: tuple[str, ...] = ("speckle", "fog")
    severities: tuple[int, ...] = (3,)


def measure(settings: Settings) -> list[dict[str, Any]]:
    """A sweep and an evaluation in processes of their own for each number of images."""
    found = []
    for cases in settings.cases:
        print(f"{cases} images", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            images = make_images(place / "images", cases, size=settings.pixels)
            options = {"size": settings.size, "width": settings.width, "batch": settings.batch}
            [run] = make_runs(place / "runs", images, runs=1, **options)
            sweep = ["robustness", str(run), "--jobs", str(settings.jobs), "-o", str(place / "out")]
            sweep += ["--corruption", *settings.kinds, "--severity", *map(str, settings.severities)]
            commands = dict(zip(WAYS, (sweep, ["evaluate", str(run)]), strict=True))
            found.append({"cases": cases} | {way: peak(command) for way, command in commands.items()})
    return found


def peak(command: Sequence[str], pause: float = 0.02) -> dict[str, int]:
    """Largest private memory in bytes of a command's process, and of the largest process that it starts.

    Raises:
        RuntimeError: the command fails.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "meddistill", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    found = {"own": 0, "worker": 0}
    while process.poll() is None:
        found["own"] = max(found["own"], _private(process.pid))
        found["worker"] = max([found["worker"], *map(_private, children(process.pid))])
        time.sleep(pause)
    if process.returncode:
        assert process.stdout is not None
        raise RuntimeError(process.stdout.read().decode())
    return found


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def _private(pid: int) -> int:
    return resident(pid).get("RssAnon", 0)


COLUMNS = ("images", "sweep, MB", "its largest worker, MB", "evaluation, MB")


def rows(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The table, a row for each number of images."""
    return [
        [
            str(row["cases"]),
            *(
                f"{row[way][part] / 2**20:.0f}"
                for way, part in (("sweep", "own"), ("sweep", "worker"), ("evaluate", "own"))
            ),
        ]
        for row in found
    ]


def page(settings: Settings, found: Sequence[Mapping[str, Any]], hardware: Mapping[str, Any]) -> str:
    """The page docs/results/sweep-memory.md."""
    lines = [
        "# Memory of a corruption sweep against the number of images",
        "",
        "<!-- Written by benchmarks/sweep_memory.py --markdown; do not edit. -->",
        "",
        "Each number is the largest private resident memory (RssAnon of /proc, asked every 20 ms) of one",
        "`meddistill robustness` or `meddistill evaluate` in a process of its own.",
        "",
        f"- Work: phantoms of {settings.pixels} px in PNG files, student pcd/unet width {settings.width} at "
        f"{settings.size} px, batch {settings.batch}; {', '.join(settings.kinds)} at severity "
        f"{', '.join(map(str, settings.severities))}, {settings.jobs} processes.",
        *machine_lines(hardware),
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(row) + " |" for row in rows(found)),
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the files asked for."""
    default = Settings()
    parser = argparse.ArgumentParser(description="Memory of a corruption sweep against the number of images.")
    parser.add_argument("--cases", type=int, nargs="+", default=list(default.cases), help="rising numbers")
    numbers = ("pixels", "size", "width", "batch", "jobs")
    add_numbers(parser, default, numbers)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    settings = Settings(tuple(given.cases), **{name: getattr(given, name) for name in numbers})
    found = measure(settings)
    hardware = machine("sweep_memory.py", "imagecorruptions-imaug")
    text = page(settings, found, hardware)
    print("\n".join(line for line in text.splitlines() if line.startswith("|")))
    save(given, {"hardware": hardware, "settings": asdict(settings), "rows": found}, text)


if __name__ == "__main__":
    main()
