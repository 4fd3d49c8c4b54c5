"""`load_teacher`: from a run folder, a MONAI bundle, weights, a program file or a network."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddistill.errors import ConfigError, RunError, TeacherError
from meddistill.models import ModelSpec, load_state, load_weights
from meddistill.teachers.adapters.bundle import is_bundle, load_bundle
from meddistill.teachers.adapters.exported import load_exported
from meddistill.teachers.adapters.found import Found
from meddistill.teachers.adapters.kinds import file_kind
from meddistill.teachers.adapters.onnx_program import load_onnx
from meddistill.teachers.adapters.torchscript import load_torchscript
from meddistill.teachers.class_map import ClassMap, count_classes, map_names, read_class_map
from meddistill.teachers.standardise import Standardisation
from meddistill.teachers.teacher import Teacher

_PROGRAMS = {"torchscript": load_torchscript, "pt2": load_exported, "onnx": load_onnx}


def load_teacher(
    source: str | Path | nn.Module,
    *,
    model: str | None = None,
    in_channels: int = 1,
    num_classes: int | None = None,
    dims: int = 2,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    standardise: Standardisation | None = None,
    size: Sequence[int] | None = None,
    class_map: ClassMap | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    **options: Any,
) -> Teacher:
    """Make a frozen teacher of what is at hand. Files are read without running code.

    Args:
        source: folder of a finished run or of a MONAI bundle, a weights file (of others: with `model`), a
            program of TorchScript, torch.export or ONNX, or a network. What a file is follows from its
            content.
        model: name for `create_model`, or `timm/NAME`, where the source does not say it.
        in_channels: channels of the network (1 also finds RGB weights); ignored where the source says it.
        num_classes: classes of the network, background included; ignored where the source says it. By default
            as many as `class_map` uses, or 2.
        dims: spatial axes; ignored where the source says it.
        mean: see `Teacher`, like the next five; what is given here goes before what the source says.
        std: divides the image.
        standardise: what is done to each image before that.
        size: resolution of the network.
        class_map: order of its classes.
        dtype: its precision.
        device: where the teacher computes.
        **options: further arguments of `create_model`.

    Raises:
        TeacherError: the source is missing, unfinished, damaged, would run code, or does not fit `model`.
        ConfigError: `create_model` refuses `model` or `options`.

    Example:
        >>> teacher = load_teacher(nn.Conv2d(1, 2, 1))
        >>> teacher.name, any(p.requires_grad for p in teacher.parameters())
        ('Conv2d', False)
    """
    if options and model is None:
        raise ConfigError(f"options of a network ({', '.join(options)}) need its name: give model as well")
    classes = num_classes or (count_classes(class_map) if class_map else 2)
    if isinstance(source, nn.Module):
        found = Found(source, type(source).__name__, "network")
    else:
        given = None if model is None else ModelSpec(model, in_channels, classes, dims, options)
        normalised = any(value is not None for value in (mean, std, standardise))
        found = _open(Path(source), given, normalised=normalised)
    _refuse_contradictions(source, found, size, dtype)
    classes = found.num_classes or classes
    return Teacher(
        found.network,
        name=found.name,
        kind=found.kind,
        in_channels=found.in_channels or in_channels,
        num_classes=classes,
        mean=found.mean if mean is None else mean,
        std=found.std if std is None else std,
        standardise=standardise or found.standardise,
        size=size or found.size,
        class_names=map_names(found.class_names, read_class_map(class_map, classes, found.name)),
        class_map=class_map,
        dtype=dtype,
    ).to(device)


def _refuse_contradictions(
    source: object, found: Found, size: Sequence[int] | None, dtype: torch.dtype | None
) -> None:
    """Refuse what cannot be changed any more in a program."""
    if dtype is not None and found.kind == "onnx":
        raise TeacherError(f"{source} has its precision in the file; leave dtype out, or export it anew")
    if found.kind != "bundle" and found.size and size and tuple(size) != found.size:
        raise TeacherError(f"{source} takes images of {list(found.size)} alone; leave size out")


def _open(source: Path, given: ModelSpec | None, *, normalised: bool) -> Found:
    """The network of a folder or file, and what that says about it."""
    if source.is_dir() and is_bundle(source):
        return load_bundle(source, given, normalised=normalised)
    path = _weights_file(source)
    kind = file_kind(path)
    if kind != "weights":
        if given is not None:
            raise ConfigError(f"{path} is a program ({kind}) and holds its network; leave model out")
        return _PROGRAMS[kind](path)
    try:
        spec, network = _load(path, given)
    except RunError as error:
        raise TeacherError(f"teacher: {error}") from error
    name, kind_of_source = (source.name, "run") if source.is_dir() else (path.stem, "weights")
    size = getattr(network, "fixed_size", None)
    return Found(
        network, name, kind_of_source, spec.in_channels, spec.num_classes, spec.class_names, size=size
    )


def _weights_file(source: Path) -> Path:
    """The file that holds the weights of a run folder, or `source` itself when it is a file."""
    from meddistill.training.run_folder import RunFolder

    if source.is_file():
        return source
    if not source.is_dir():
        raise TeacherError(f"teacher {source} is missing; give a run folder or a weights file")
    run = RunFolder(source)
    try:
        state = run.read_state()
    except RunError as error:
        raise TeacherError(f"teacher: {error}") from error
    if not (state or run.config.exists() or run.weights.exists()):
        raise TeacherError(f"teacher {source} is not a run folder: it has no {run.weights.name}")
    if (state and not run.finished) or not run.weights.exists():
        done = state.get("epochs_done", 0)
        raise TeacherError(f"teacher {source} is unfinished ({done} epochs done); go on with it by --resume")
    return run.weights


def _load(path: Path, given: ModelSpec | None) -> tuple[ModelSpec, nn.Module]:
    """The network of the weights in `path`: of `given`, or else of the spec in the file."""
    found, state = load_weights(path)
    spec = given or found
    if spec is None:
        raise RunError(f"{path} does not say which network it belongs to; give the model's name as well")
    try:
        return spec, _filled(spec, state, path)
    except RunError:
        if given is not None and given.in_channels == 1:
            rgb = replace(given, in_channels=3)
            with contextlib.suppress(RunError):
                return rgb, _filled(rgb, state, path)
        raise


def _filled(spec: ModelSpec, state: Mapping[str, Tensor], path: Path) -> nn.Module:
    network = spec.build()
    load_state(network, state, source=str(path))
    return network
