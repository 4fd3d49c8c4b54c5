"""Memory of a training against the number of cases, and the size of its teacher store.

See benchmarks/README.md. Example:

    python benchmarks/memory.py --cases 160 1600 16000 --markdown docs/results/memory.md
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench_page import add_numbers, add_outputs, machine, machine_lines, save
from meddistill.models import ModelSpec, save_weights
from meddistill.teachers.store import TeacherStore
from meddistill.training.run_folder import RunFolder

KINDS = ("VmRSS", "RssAnon", "RssFile", "RssShmem")
"""What /proc says of a process: all resident memory, and its private, file-mapped and shared parts."""


@dataclass(frozen=True)
class Settings:
    """What is measured: a teacher with random weights and a small student, on phantoms of one size."""

    cases: tuple[int, ...] = (160, 1600, 16000)
    size: int = 64
    student: int = 8
    teacher: int = 16
    batch: int = 16
    epochs: int = 1
    workers: int = 0


def recipe(settings: Settings, cases: int, teacher: Path) -> dict[str, Any]:
    """The recipe of one training; teacher logits are stored, and all splits grow with the cases."""
    return {
        "name": f"memory-{cases}",
        "data": {
            "source": {"kind": "phantom", "cases": cases},
            "splits": {"fractions": {"train": 0.6, "selection": 0.1, "calibration": 0.1, "test": 0.2}},
            "size": [settings.size] * 2,
        },
        "model": {"name": "pcd/unet", "options": {"width": settings.student}},
        "method": {"name": "paced", "mode": "tpl_uncert", "confidence_temperature": "calibrate"},
        "teacher": {"path": str(teacher)},
        "training": {
            "epochs": settings.epochs,
            "batch_size": settings.batch,
            "workers": settings.workers,
            "accelerator": "cpu",
            "precision": "32",
        },
    }


def measure(settings: Settings) -> list[dict[str, Any]]:
    """One training in a process of its own for each number of cases."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        spec = ModelSpec("pcd/unet", options={"width": settings.teacher})
        save_weights(spec.build(), spec, place / "teacher.safetensors")
        for cases in settings.cases:
            print(f"{cases} cases", file=sys.stderr, flush=True)
            found.append({"cases": cases, **_train(settings, cases, place)})
    return found


def _train(settings: Settings, cases: int, place: Path) -> dict[str, Any]:
    file, out = place / f"{cases}.yaml", place / f"run-{cases}"
    file.write_text(yaml.safe_dump(recipe(settings, cases, place / "teacher.safetensors")))
    command = [sys.executable, "-m", "meddistill", "train", str(file), "-o", str(out)]
    command += ["--stores", str(place / f"stores-{cases}")]
    started = time.monotonic()
    with open(place / f"{cases}.log", "w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        peaks = watch(process, RunFolder(out))
        if process.returncode:
            log.seek(0)
            raise RuntimeError(log.read())
    (folder,) = (place / f"stores-{cases}").iterdir()
    store = TeacherStore.open(folder)
    return {
        "train_cases": store.manifest.rows,
        "seconds": time.monotonic() - started,
        "training": peaks["training"],
        "whole": peaks["whole"],
        "store_bytes": store.nbytes,
        "store_bytes_on_disk": sum(path.stat().st_blocks * 512 for path in folder.iterdir()),
    }


def watch(process: subprocess.Popen[Any], run: RunFolder, pause: float = 0.02) -> dict[str, dict[str, int]]:
    """The largest value of each of `KINDS` in bytes until training ends, and until the process ends."""
    peaks = {phase: dict.fromkeys(KINDS, 0) for phase in ("training", "whole")}
    finished = False
    while process.poll() is None:
        finished = finished or run.finished
        for kind, size in resident(process.pid).items():
            peaks["whole"][kind] = max(peaks["whole"][kind], size)
            if not finished:
                peaks["training"][kind] = max(peaks["training"][kind], size)
        time.sleep(pause)
    return peaks


def resident(pid: int) -> dict[str, int]:
    """Resident memory of a process in bytes, by kind; empty when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return {kind: int(values[kind].split()[0]) * 1024 for kind in KINDS if kind in values}


def bytes_per_case(settings: Settings) -> int:
    """What a case adds to a store of two classes: a half-precision number a pixel, and its checksum."""
    return settings.size**2 * 2 + 8


def rows(found: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The table, a row for each number of cases."""
    first = found[0]
    table = []
    for row in found:
        extra = row["cases"] - first["cases"]
        growth = (row["training"]["RssAnon"] - first["training"]["RssAnon"]) / extra if extra else None
        table.append(
            [
                str(row["cases"]),
                *(f"{row['training'][kind] / 2**20:.0f}" for kind in KINDS),
                "" if growth is None else f"{growth / 1024:.1f}",
                f"{row['whole']['VmRSS'] / 2**20:.0f}",
                f"{row['store_bytes'] / row['train_cases']:.0f}",
                f"{row['store_bytes_on_disk'] / 2**20:.1f}",
                f"{row['seconds']:.0f}",
            ]
        )
    return table


COLUMNS = (
    "cases",
    "training: peak resident, MB",
    "of it private",
    "mapped files",
    "shared",
    "private, more than in the first row, KB a case",
    "with scores and report, MB",
    "store, bytes a case",
    "store on disk, MB",
    "seconds",
)


def page(settings: Settings, found: Sequence[dict[str, Any]], hardware: dict[str, Any]) -> str:
    """The page docs/results/memory.md."""
    pixels = settings.size**2
    lines = [
        "# Memory of a training against the number of cases",
        "",
        "<!-- Written by benchmarks/memory.py --markdown; do not edit. -->",
        "",
        "Each row is one `meddistill train` in a process of its own: P-CD with stored teacher logits. All",
        "splits grow with the cases. Peaks are what /proc reports, asked every 20 ms, until training ends",
        "and until the test split is scored and the report is written.",
        "",
        f"- Work: phantoms of {settings.size} px, student pcd/unet width {settings.student}, "
        f"teacher pcd/unet width {settings.teacher} (random weights), batch {settings.batch}, "
        f"{settings.epochs} epoch, float32.",
        *machine_lines(hardware),
        f"- A decoded case takes {pixels} + {2 * pixels} bytes (image and label) of temporary "
        f"file, a stored one {bytes_per_case(settings)} as computed.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(row) + " |" for row in rows(found)),
    ]
    return "\n".join(lines) + "\n"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    default = Settings()
    parser = argparse.ArgumentParser(description="Memory of a training against the number of cases.")
    parser.add_argument("--cases", type=int, nargs="+", default=list(default.cases), help="rising numbers")
    add_numbers(parser, default, ("size", "student", "teacher", "batch", "epochs", "workers"))
    add_outputs(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the files asked for."""
    given = parse(arguments)
    chosen = {
        name: getattr(given, name) for name in ("size", "student", "teacher", "batch", "epochs", "workers")
    }
    settings = Settings(cases=tuple(given.cases), **chosen)
    found = measure(settings)
    hardware = machine("memory.py")
    text = page(settings, found, hardware)
    print("\n".join(line for line in text.splitlines() if line.startswith("|")))
    save(given, {"hardware": hardware, "rows": found}, text)


if __name__ == "__main__":
    main()
