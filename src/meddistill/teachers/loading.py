"""`load_teacher`: from a run folder, a weights file or a network."""

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
from meddistill.teachers.teacher import Teacher


def load_teacher(
    source: str | Path | nn.Module,
    *,
    model: str | None = None,
    in_channels: int = 1,
    num_classes: int = 2,
    dims: int = 2,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: Sequence[int] | None = None,
    class_map: Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    **options: Any,
) -> Teacher:
    """Make a frozen teacher of what is at hand. Files are read without running code.

    Args:
        source: the folder of a finished run; a `.safetensors` file that meddistill wrote; a `.safetensors`,
            `.pt`, `.pth` or `.ckpt` file of anybody, with `model`; or a network.
        model: name for `create_model`, where the source does not say it.
        in_channels: channels of the network; where `model` is given with 1 and the weights are those of an
            RGB network, that one is built. Ignored where the source says it.
        num_classes: K, background included; ignored where the source says it.
        dims: spatial axes; ignored where the source says it.
        mean: see `Teacher`.
        std: see `Teacher`.
        size: see `Teacher`.
        class_map: see `Teacher`.
        dtype: see `Teacher`.
        device: where the teacher computes.
        **options: further arguments of `create_model`.

    Raises:
        TeacherError: the source is missing, unfinished, damaged, would run code, or does not fit the network.
        ConfigError: `create_model` refuses `model` or `options`.

    Example:
        >>> teacher = load_teacher(nn.Conv2d(1, 2, 1))
        >>> teacher.name, any(p.requires_grad for p in teacher.parameters())
        ('Conv2d', False)
    """
    if options and model is None:
        raise ConfigError(f"options of a network ({', '.join(options)}) need its name: give model as well")
    if isinstance(source, nn.Module):
        spec = ModelSpec(type(source).__name__, in_channels, num_classes, dims)
        name, network = spec.name, source
    else:
        path = _weights_file(Path(source))
        name = Path(source).name if Path(source).is_dir() else path.stem
        given = None if model is None else ModelSpec(model, in_channels, num_classes, dims, options)
        try:
            spec, network = _load(path, given)
        except RunError as error:
            raise TeacherError(f"teacher: {error}") from error
    return Teacher(
        network,
        name=name,
        in_channels=spec.in_channels,
        num_classes=spec.num_classes,
        mean=mean,
        std=std,
        size=size,
        class_names=spec.class_names,
        class_map=class_map,
        dtype=dtype,
    ).to(device)


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
