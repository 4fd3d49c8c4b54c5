"""Memory and time of predicting one volume, with a network of slices and one of patches.

See benchmarks/README.md. Example:

    python benchmarks/volume_prediction.py --markdown docs/results/volume-prediction.md
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

from bench_page import add_outputs, machine, machine_lines, save
from meddistill.models import ModelSpec, count_parameters, save_weights
from meddistill.training.run_folder import RunFolder

LIMIT_GB = 4.0
"""What a volume of 512 x 512 x 200 voxels must stay below."""


@dataclass(frozen=True)
class Student:
    """A network with random weights, and how it takes volumes."""

    name: str
    spec: ModelSpec
    volumes: dict[str, Any]

    def save(self, folder: Path) -> RunFolder:
        """The parts of a run folder that `predict` reads."""
        run = RunFolder(folder)
        run.root.mkdir()
        torch.manual_seed(0)
        save_weights(self.spec.build(), self.spec, run.weights)
        described = {**self.spec.to_json(), "interpolation": "area", "volumes": self.volumes}
        run.model.write_text(json.dumps(described))
        return run


def students(classes: Sequence[int], patch: Sequence[int], side: int) -> list[Student]:
    """A network of slices and one of patches for each number of classes."""
    found = []
    for count in classes:
        unet = {"encoder_name": "resnet18", "encoder_weights": None}
        flat = ModelSpec("smp/unet", num_classes=count, options=unet, size=(side, side))
        deep = ModelSpec("monai/unet", num_classes=count, dims=3, size=tuple(patch))
        found += [
            Student(f"smp/unet (resnet18), slices at {side} x {side}", flat, {"by": "slices"}),
            Student(f"monai/unet, patches of {_by(patch)}", deep, {"by": "patches"}),
        ]
    return found


def write_input(folder: Path, shape: Sequence[int]) -> None:
    """One NIfTI of noise with a bright block, (X, Y, Z) as stored."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 200, shape, dtype=np.int16)
    values[tuple(slice(length // 4, length // 2) for length in shape)] += 800
    folder.mkdir()
    nibabel.save(nibabel.Nifti1Image(values, np.diag([0.8, 0.8, 2.5, 1.0])), folder / "volume.nii.gz")


def measure(student: Student, images: Path, place: Path, threads: int) -> dict[str, Any]:
    """One `meddistill predict` in a process of its own."""
    run = student.save(place / "run")
    command = [sys.executable, "-c", _CHILD, str(threads), str(run.root), str(images), str(place / "out")]
    with open(place / "log", "w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        peak = 0
        while process.poll() is None:
            peak = max(peak, peak_of(process.pid))
            time.sleep(0.05)
        log.seek(0)
        words = log.read()
        if process.returncode:
            raise RuntimeError(words)
    told = json.loads(words.strip().splitlines()[-1])
    return {
        **told,
        "network": student.name,
        "classes": student.spec.num_classes,
        "parameters": count_parameters(student.spec.build()),
        "peak_bytes": max(peak, told["peak_bytes"]),
    }


_CHILD = """
import json, resource, sys, time
import torch
from meddistill.deploy.predict import predict
torch.set_num_threads(int(sys.argv[1]))
scale = 1 if sys.platform == "darwin" else 1024
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
started = time.perf_counter()
predict(*sys.argv[2:5])
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
print(json.dumps({"before_bytes": before, "peak_bytes": peak, "seconds": seconds}))
"""
"""What the process does: the API is called, so that the time of starting Python is left out."""


def peak_of(pid: int) -> int:
    """The largest resident memory of a process so far in bytes, as /proc tells; 0 where it does not."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


COLUMNS = ("network", "classes", "parameters", "peak resident, GB", "of it before predicting", "seconds")


def rows(found: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The table, a row for each network."""
    return [
        [
            row["network"],
            str(row["classes"]),
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['peak_bytes'] / 1e9:.2f}",
            f"{row['before_bytes'] / 1e9:.2f}",
            f"{row['seconds']:.0f}",
        ]
        for row in found
    ]


def page(
    shape: Sequence[int], threads: int, found: Sequence[dict[str, Any]], hardware: dict[str, Any]
) -> str:
    """The page docs/results/volume-prediction.md."""
    most = max(row["peak_bytes"] for row in found) / 1e9
    lines = [
        "# Memory and time of predicting a volume",
        "",
        "<!-- Written by benchmarks/volume_prediction.py --markdown; do not edit. -->",
        "",
        "Each row is one call of `meddistill.predict` in a process of its own: read a NIfTI, predict it,",
        "write the label map. Networks have random weights, which change neither memory nor time. Patches",
        "overlap by half along each axis, with Gaussian weights. The peak is that of the whole process,",
        "libraries included.",
        "",
        f"- Work: one volume of {_by(shape)} voxels (int16), {threads} threads, float32.",
        *machine_lines(hardware),
        f"- The largest peak is {most:.2f} GB; 512 x 512 x 200 voxels must stay below {LIMIT_GB:g} GB.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(row) + " |" for row in rows(found)),
    ]
    return "\n".join(lines) + "\n"


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Memory and time of predicting one volume.")
    parser.add_argument("--shape", type=int, nargs=3, default=[512, 512, 200], help="X Y Z of the volume")
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 4], help="numbers of classes")
    parser.add_argument("--patch", type=int, nargs=3, default=[64, 128, 128], help="Z Y X of a patch")
    parser.add_argument("--side", type=int, default=256, help="size of the slices in training")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the network")
    add_outputs(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the files asked for."""
    given = parse(arguments)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        write_input(Path(folder) / "images", given.shape)
        for number, student in enumerate(students(given.classes, given.patch, given.side)):
            print(f"{student.name}, {student.spec.num_classes} classes", file=sys.stderr, flush=True)
            place = Path(folder) / str(number)
            place.mkdir()
            found.append(measure(student, Path(folder) / "images", place, given.threads))
    hardware = machine("volume_prediction.py", "nibabel")
    text = page(given.shape, given.threads, found, hardware)
    print("\n".join(line for line in text.splitlines() if line.startswith("|")))
    save(given, {"hardware": hardware, "shape": given.shape, "rows": found}, text)


if __name__ == "__main__":
    main()
