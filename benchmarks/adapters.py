"""What adapters change: the same networks through every file that a teacher can come in, against the network
itself.

See benchmarks/README.md. Example:

    python benchmarks/adapters.py --json adapters.json --markdown adapters.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench_page import add_outputs, machine, machine_lines, save
from meddistill.files import write_json
from meddistill.models import ModelSpec, count_parameters, save_weights
from meddistill.teachers import Teacher, load_teacher
from meddistill.training.run_folder import RunFolder

TOLERANCE = 1e-3
"""Largest difference of logits that counts as the same network in float32."""


@dataclass(frozen=True)
class Subject:
    """A network with random weights, and the images that it is asked about."""

    spec: ModelSpec
    size: tuple[int, ...]
    batch: int = 3
    seed: int = 0
    network: nn.Module = field(init=False)
    image: Tensor = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        network = self.spec.build().eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
        object.__setattr__(self, "network", network)
        object.__setattr__(self, "image", torch.rand(self.batch, self.spec.in_channels, *self.size))


def subjects() -> dict[str, Subject]:
    """The networks of the page."""
    unet = {"channels": (16, 32, 64, 128), "strides": (2, 2, 2), "num_res_units": 2}
    return {
        "smp unet, resnet18": Subject(
            ModelSpec("smp/unet", 3, 3, options={"encoder_name": "resnet18"}), (96, 64)
        ),
        "MONAI unet, 2D": Subject(ModelSpec("monai/unet", 1, 3, options=unet), (96, 64)),
        "MONAI unet, 3D": Subject(ModelSpec("monai/unet", 1, 3, dims=3, options=unet), (32, 24, 16)),
        "pcd/unet": Subject(ModelSpec("pcd/unet", 1, 3, options={"width": 16}), (96, 64)),
        "timm resnet18": Subject(ModelSpec("timm/resnet18", 3, 3), (96, 64)),
    }


def as_network(subject: Subject, _folder: Path) -> Teacher:
    spec = subject.spec
    return load_teacher(subject.network, in_channels=spec.in_channels, num_classes=spec.num_classes)


def as_run(subject: Subject, folder: Path) -> Teacher:
    run = RunFolder(folder / "run")
    save_weights(subject.network, subject.spec, run.weights)
    run.write_state(state="finished", epochs_done=1)
    return load_teacher(run.root)


def as_weights(subject: Subject, folder: Path) -> Teacher:
    spec = subject.spec
    torch.save({"state_dict": subject.network.state_dict()}, folder / "weights.pt")
    given = {"in_channels": spec.in_channels, "num_classes": spec.num_classes, "dims": spec.dims}
    return load_teacher(folder / "weights.pt", model=spec.name, **given, **spec.options)


def as_bundle(subject: Subject, folder: Path) -> Teacher | None:
    """Networks of MONAI only."""
    spec = subject.spec
    if not spec.name.startswith("monai/"):
        return None
    shape = {"spatial_dims": spec.dims, "in_channels": spec.in_channels, "out_channels": spec.num_classes}
    definition = {"_target_": "UNet", **shape, **spec.options}
    image = {"num_channels": spec.in_channels, "value_range": [0, 1]}
    formats = {"inputs": {"image": image}, "outputs": {"pred": {"num_channels": spec.num_classes}}}
    write_json(folder / "bundle/configs/metadata.json", {"network_data_format": formats})
    write_json(folder / "bundle/configs/inference.json", {"network_def": definition})
    (folder / "bundle/models").mkdir()
    torch.save(subject.network.network.state_dict(), folder / "bundle/models/model.pt")
    return load_teacher(folder / "bundle")


def as_torchscript(subject: Subject, folder: Path) -> Teacher:
    torch.jit.trace(subject.network, subject.image).save(folder / "traced.pt")
    return load_teacher(folder / "traced.pt", num_classes=subject.spec.num_classes)


def as_exported(*, batch: int | None) -> Route:
    def route(subject: Subject, folder: Path) -> Teacher:
        image, shapes = _example(subject, batch)
        torch.export.save(
            torch.export.export(subject.network, (image,), dynamic_shapes=shapes), folder / "t.pt2"
        )
        return load_teacher(folder / "t.pt2")

    return route


def as_onnx(*, batch: int | None) -> Route:
    def route(subject: Subject, folder: Path) -> Teacher:
        image, shapes = _example(subject, batch)
        torch.onnx.export(
            subject.network, (image,), folder / "t.onnx", dynamic_shapes=shapes, dynamo=True, verbose=False
        )
        return load_teacher(folder / "t.onnx")

    return route


def _example(subject: Subject, batch: int | None) -> tuple[Tensor, Any]:
    """An image to export with, and which of its axes are free."""
    free = ({0: torch.export.Dim("batch", max=1024)},) if batch is None else None
    return subject.image[: batch or 2], free


Route = Callable[[Subject, Path], Teacher | None]

ROUTES: dict[str, Route] = {
    "network": as_network,
    "run folder": as_run,
    "weights and name": as_weights,
    "MONAI bundle": as_bundle,
    "TorchScript": as_torchscript,
    "torch.export, any batch": as_exported(batch=None),
    "torch.export, batch of 1": as_exported(batch=1),
    "ONNX, any batch": as_onnx(batch=None),
    "ONNX, batch of 2": as_onnx(batch=2),
}


def measure(chosen: Mapping[str, Subject], routes: Mapping[str, Route] = ROUTES) -> dict[str, Any]:
    """The largest difference between the logits of each teacher and those of the network.

    Raises:
        ValueError: a difference above `TOLERANCE`, or logits of another shape.
    """
    rows = {}
    for name, subject in chosen.items():
        with torch.no_grad():
            expected = subject.network(subject.image)
        differences: dict[str, float | None] = {}
        for route, make in routes.items():
            print(f"{name}: {route}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                teacher = make(subject, Path(folder))
                differences[route] = (
                    None if teacher is None else _difference(teacher, subject.image, expected)
                )
            if teacher is not None and not differences[route] <= TOLERANCE:
                raise ValueError(f"{name} through {route} differs by {differences[route]}")
        rows[name] = {
            "network": subject.spec.to_json(),
            "parameters": count_parameters(subject.network),
            "image": list(subject.image.shape),
            "largest_logit": float(expected.abs().max()),
            "differences": differences,
        }
    hardware = machine("adapters.py", "onnx", "onnxruntime", "onnxscript")
    return {"hardware": hardware, "routes": list(routes), "rows": rows}


def _difference(teacher: Teacher, image: Tensor, expected: Tensor) -> float:
    logits = teacher(image)
    if logits.shape != expected.shape:
        raise ValueError(f"logits of shape {tuple(logits.shape)} instead of {tuple(expected.shape)}")
    return float((logits - expected).abs().max())


def _cell(difference: float | None) -> str:
    return "–" if difference is None else "0" if difference == 0 else f"{difference:.1e}"


def text_table(result: Mapping[str, Any]) -> str:
    """The differences for a terminal."""
    width = max(len(route) for route in result["routes"]) + 2
    lines = ["largest difference of logits from the network's own, float32 on CPU"]
    for name, row in result["rows"].items():
        lines += ["", f"{name} (largest logit {row['largest_logit']:.2f})"]
        lines += [f"  {route:<{width}}{_cell(row['differences'][route])}" for route in result["routes"]]
    return "\n".join(lines)


def markdown_page(result: Mapping[str, Any]) -> str:
    """The page docs/results/adapters.md, every number of it from `result`."""
    hardware, rows = result["hardware"], result["rows"]
    lines = [
        "# What adapters change",
        "",
        "<!-- Written by benchmarks/adapters.py --markdown; do not edit. -->",
        "",
        "The largest difference between the logits of a teacher and those of the network that its file was "
        "made from, float32 on CPU; 0 is equal to the bit, – is a file that the network does not come in. "
        "benchmarks/README.md says more.",
        "",
        *machine_lines(hardware),
        "",
        f"| | {' | '.join(rows)} |",
        f"|---|{'---|' * len(rows)}",
        f"| images | {' | '.join('×'.join(map(str, row['image'])) for row in rows.values())} |",
        f"| parameters | {' | '.join(str(row['parameters']) for row in rows.values())} |",
        f"| largest logit | {' | '.join(format(row['largest_logit'], '.2f') for row in rows.values())} |",
    ]
    for route in result["routes"]:
        cells = " | ".join(_cell(row["differences"][route]) for row in rows.values())
        lines.append(f"| {route} | {cells} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the files asked for."""
    parser = argparse.ArgumentParser(description="What adapters change in the logits of a teacher.")
    add_outputs(parser)
    given = parser.parse_args(arguments)
    result = measure(subjects())
    print(text_table(result))
    save(given, result, markdown_page(result))


if __name__ == "__main__":
    main()
