"""MONAI bundles: a folder with `configs/` and `models/`, of which nothing is imported or evaluated.

Its network definition is built by `create_model`, its weights are read as tensors, and its preprocessing
becomes mean, std and standardisation of the teacher.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from meddistill.errors import RunError, TeacherError
from meddistill.models import ModelSpec, load_state, read_checkpoint
from meddistill.models.names import MODEL_NAMES
from meddistill.teachers.adapters.bundle_config import BundleConfig, read_config
from meddistill.teachers.adapters.bundle_intensity import Intensity, read_transforms
from meddistill.teachers.adapters.found import Found
from meddistill.teachers.adapters.torchscript import load_torchscript

_PREPROCESSING = ("preprocessing", "validate::preprocessing", "train::deterministic_transforms")


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a MONAI bundle."""
    return any((folder / "configs" / f"metadata{suffix}").is_file() for suffix in (".json", ".yaml", ".yml"))


def load_bundle(folder: Path, given: ModelSpec | None, *, normalised: bool) -> Found:
    """Read a bundle.

    Args:
        folder: the bundle.
        given: the network, where the bundle's own definition is not to be used.
        normalised: mean, std or standardisation are given, so that the bundle's preprocessing is not read.

    Raises:
        TeacherError: the bundle is incomplete, or needs something evaluated; the message says what to give.
        ConfigError: `create_model` refuses the network.
    """
    metadata = read_config(folder / "configs", ("metadata",))
    config = read_config(folder / "configs", ("inference", "train"))
    if metadata is None or config is None:
        raise TeacherError(
            f"MONAI bundle {folder} needs configs/metadata and configs/inference or configs/train"
        )
    _refuse_overlapping(config)
    found = _network(folder, config, given)
    image, answer = (metadata.get(f"network_data_format::{side}") or {} for side in ("inputs", "outputs"))
    image, answer = image.get("image") or {}, next(iter(answer.values()), None) or {}
    channels = found.in_channels or image.get("num_channels") or 1
    intensity = Intensity() if normalised else _intensity(config, image, channels)
    return replace(
        found,
        name=folder.name,
        kind="bundle",
        in_channels=channels,
        num_classes=found.num_classes or answer.get("num_channels"),
        class_names=_class_names(answer, found.num_classes),
        mean=None if normalised else (intensity.mean,),
        std=None if normalised else (intensity.std,),
        standardise=intensity.standardise,
        size=found.size or intensity.size,
    )


def _network(folder: Path, config: BundleConfig, given: ModelSpec | None) -> Found:
    weights, script = folder / "models" / "model.pt", folder / "models" / "model.ts"
    if given is None and weights.is_file():
        try:
            given = _definition(config)
        except TeacherError:
            if not script.is_file():
                raise
    if given is None:
        if not script.is_file():
            raise TeacherError(f"MONAI bundle {folder} has neither models/model.pt nor models/model.ts")
        return load_torchscript(script)
    network = _filled(given, weights)
    return Found(network, folder.name, "bundle", given.in_channels, given.num_classes)


def _filled(spec: ModelSpec, weights: Path) -> nn.Module:
    network = spec.build()
    try:
        load_state(network, read_checkpoint(weights), source=str(weights))
    except RunError as error:
        raise TeacherError(f"MONAI bundle: {error}") from error
    return network


def _definition(config: BundleConfig) -> ModelSpec:
    """The entry `network_def` as arguments of `create_model`."""
    advice = "give model and its options instead, for example model='monai/unet'"
    try:
        definition = config.get("network_def")
    except TeacherError as error:
        raise TeacherError(f"{error}; {advice}") from error
    if not isinstance(definition, Mapping) or "_target_" not in definition:
        raise TeacherError(f"{config.path} has no network_def; {advice}")
    options = {key: value for key, value in definition.items() if not key.startswith("_")}
    module, _, name = str(definition["_target_"]).rpartition(".")
    known = {entry.class_name: entry.name for entry in MODEL_NAMES.values() if entry.library == "monai"}
    if name not in known or not (module == "" or module.startswith("monai.networks.nets")):
        raise TeacherError(
            f"{config.path}: {definition['_target_']} is none of {', '.join(sorted(known))} of MONAI, and "
            f"nothing else is built; {advice}, or a bundle with models/model.ts"
        )
    try:
        dims, channels, classes = (
            options.pop(key) for key in ("spatial_dims", "in_channels", "out_channels")
        )
    except KeyError as error:
        raise TeacherError(f"{config.path}: network_def has no {error.args[0]}; {advice}") from error
    return ModelSpec(known[name], channels, classes, dims, _with_defaults(name, options))


def _with_defaults(class_name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options with MONAI's own defaults, where `create_model` has others."""
    from monai.networks import nets

    parameters = inspect.signature(getattr(nets, class_name)).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    ours = ("spatial_dims", "in_channels", "out_channels")
    return {name: value for name, value in (defaults | options).items() if name not in ours}


def _refuse_overlapping(config: BundleConfig) -> None:
    """Refuse networks whose outputs are no exclusive classes."""
    try:
        transforms = config.get("postprocessing::transforms")
    except TeacherError:  # writers and the like hold expressions, and do not concern a teacher
        return
    for transform in transforms if isinstance(transforms, list) else []:
        if isinstance(transform, Mapping) and transform.get("sigmoid") is True:
            raise TeacherError(
                f"{config.path}: the outputs are regions that overlap (sigmoid), not exclusive classes; a "
                f"teacher of such regions is not supported"
            )


def _intensity(config: BundleConfig, image: Mapping[str, Any], channels: int) -> Intensity:
    """From the transforms, or where they leave intensities alone from the range that metadata declares."""
    transforms = None
    for entry in _PREPROCESSING:
        try:
            transforms = transforms or config.get(entry)
        except TeacherError as error:
            raise TeacherError(f"{error}; give mean and std (or standardise) for images in 0..1") from error
    if isinstance(transforms, Mapping):
        transforms = transforms.get("transforms")
    read = (
        read_transforms(transforms, channels, str(config.path))
        if isinstance(transforms, list)
        else Intensity()
    )
    value_range = image.get("value_range")
    if read.stated:
        return read
    if not (isinstance(value_range, list) and len(value_range) == 2 and value_range[0] != value_range[1]):
        raise TeacherError(
            f"{config.path} does not say which intensities the network takes; give mean and std (or "
            f"standardise) for images in 0..1"
        )
    return replace(read, low=float(value_range[0]), high=float(value_range[1]))


def _class_names(answer: Mapping[str, Any], classes: int | None) -> tuple[str, ...]:
    named = answer.get("channel_def")
    if not isinstance(named, Mapping) or not all(str(k) in named for k in range(classes or len(named))):
        return ()
    return tuple(str(named[str(k)]) for k in range(classes or len(named)))
