"""The student of a run as one program that needs no meddistill: ONNX, torch.export or TorchScript."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddistill.deploy.student import Student, load_student
from meddistill.errors import ConfigError, RunError, unknown_name
from meddistill.files import replacing, write_json
from meddistill.teachers import load_teacher

TOLERANCE = 1e-4
"""How far a logit of the program may be from the student's, as a share of the largest."""

_KEY = "meddistill.json"
"""Under which name the description lies in the file."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        file: the program.
        description: the JSON beside it, which the program also carries.
        difference: largest difference of a logit from the student's own.
    """

    file: Path
    description: Path
    difference: float


def export(
    run: Path | str,
    output: Path | str,
    *,
    branch: str | None = None,
    calibrated: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Write the student of a run as a program: images (B, C, *size), float32 in 0..1, to logits.

    The batch may have any length; the size is that of training. Beside `a.onnx` there is `a.onnx.json`, and
    the program carries the same text: channels, size, how images are resized and volumes normalised and cut,
    names of the classes, what the logits mean. Before anything is put in its place the program is loaded
    again and must answer as the student does.

    Args:
        run: a run folder.
        output: ends in `.onnx` (needs the extra `onnx`), `.pt2` (torch.export) or `.pt` (TorchScript).
        branch: as for `predict`.
        calibrated: as for `predict`; the calibration becomes part of the program.
        overwrite: replace files that are there.

    Raises:
        ConfigError: another ending, or a branch that there is not.
        RunError: not a usable run, one without a calibration, files that are there already, a package that is
            missing, a network that cannot be exported, or a program that answers otherwise.
    """
    file = Path(output)
    description = file.with_name(f"{file.name}.json")
    if file.suffix not in FORMATS:
        raise ConfigError(unknown_name("ending of an exported file", file.suffix or file.name, FORMATS))
    for path in (file, description):
        if path.exists() and not overwrite:
            raise RunError(f"{path} is there already; choose another name or overwrite")
    student = load_student(run, branch=branch, calibrated=calibrated)
    described = describe(student, calibrated=calibrated)
    content = _program(student, file.suffix, json.dumps(described))
    with replacing(file) as temporary:
        temporary.write_bytes(content)
        difference = _difference(student, temporary, file)
    write_json(description, described)
    return Exported(file, description, difference)


def describe(student: Student, *, calibrated: bool) -> dict[str, Any]:
    """How a program is to be fed and read, as plain values for JSON."""
    spec, volumes = student.spec, student.volumes
    return {
        "task": spec.task,
        "input": {
            "name": "image",
            "axes": ["batch", "channel", *("depth", "height", "width")[-spec.dims :]],
            "channels": spec.in_channels,
            "size": list(spec.size),
            "range": [0.0, 1.0],
            "interpolation": student.interpolation,
            "volumes": None if volumes is None else volumes.to_json(),
        },
        "output": {
            "name": "logits",
            "activation": "sigmoid" if spec.task == "multi_label" else "softmax",
            "classes": list(spec.class_names) or spec.num_classes,
            "calibrated": calibrated,
        },
    }


def _program(student: Student, ending: str, text: str) -> bytes:
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return FORMATS[ending](student.network, _images(student, 2), text)
    except RunError:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise RunError(
            f"{student.spec.name} cannot be exported as {ending}: {reason}; try another ending"
        ) from error


def _difference(student: Student, program: Path, file: Path) -> float:
    """How far the program is from the student on a batch of another length than when it was made."""
    spec = student.spec
    image = _images(student, 3)
    loaded = load_teacher(program, in_channels=spec.in_channels, num_classes=spec.num_classes, dims=spec.dims)
    with torch.no_grad():
        expected, found = student.network(image).float(), loaded(image).float()
    difference = float((found - expected).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise RunError(
            f"{file} is not written: the program's logits differ from the student's by {difference:.2g}; try "
            "another ending"
        )
    return difference


def _images(student: Student, count: int) -> Tensor:
    spec = student.spec
    generator = torch.Generator().manual_seed(count)
    return torch.rand(count, spec.in_channels, *spec.size, generator=generator)


def _onnx(network: nn.Module, image: Tensor, text: str) -> bytes:
    if not all(util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")):
        raise RunError("an ONNX file needs more packages: pip install 'meddistill[onnx]'")
    import onnx

    program = torch.onnx.export(
        network,
        (image,),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=_any_batch(),
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {_KEY: text})
    content: bytes = model.SerializeToString()
    return content


def _torch_export(network: nn.Module, image: Tensor, text: str) -> bytes:
    program = torch.export.export(network, (image,), dynamic_shapes=_any_batch())
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={_KEY: text})
    return content.getvalue()


def _torchscript(network: nn.Module, image: Tensor, text: str) -> bytes:
    program = torch.jit.trace(network, (image,), check_trace=False)  # type: ignore[no-untyped-call]
    content = io.BytesIO()
    torch.jit.save(program, content, _extra_files={_KEY: text})
    return content.getvalue()


def _any_batch() -> tuple[dict[int, torch.export.Dim]]:
    return ({0: torch.export.Dim("batch")},)


FORMATS: Mapping[str, Callable[[nn.Module, Tensor, str], bytes]] = {
    ".onnx": _onnx,
    ".pt2": _torch_export,
    ".pt": _torchscript,
}
"""What makes the content of each kind of file from a network, images and a text to keep with it."""
