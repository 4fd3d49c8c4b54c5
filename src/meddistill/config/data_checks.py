"""What the data of a recipe must agree on, beyond the type of each key."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import fields

from meddistill.config.labels import NoiseConfig
from meddistill.config.schema import DataConfig, Recipe
from meddistill.config.splitting import SplitConfig
from meddistill.errors import ConfigError, unknown_name

IMAGE_LABELS = ("class_folder", "table", "medmnist")
"""Kinds of sources whose labels speak of the whole image."""

_SPLITS = ("train", "selection", "calibration", "test")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def check_data(recipe: Recipe) -> None:
    """Refuse sizes and splits that contradict each other, and test sets that cannot be told apart.

    Raises:
        ConfigError: the first thing wrong, in one line.
    """
    data = recipe.data
    _check_size(data)
    slices = getattr(data.source, "slices", data.source.kind != "phantom")
    if len(data.size or ()) == 3 and slices:
        raise ConfigError(
            "data.size: three sizes were given, but this source holds 2D images; give [height, width]"
        )
    _check_splits("data.splits", data.splits)
    if data.noise is not None:
        _check_noise(data.noise, data.source.kind)
    if data.clean is not None and data.source.kind not in IMAGE_LABELS:
        raise ConfigError(
            "data.clean is for labels of whole images, one class each, but data.source has maps; leave it out"
        )
    for name, test in recipe.tests.items():
        check_name("tests", name)
        if test.source.kind == "images":
            raise ConfigError(
                f"tests.{name}.source: images without labels cannot be scored; give a source with labels, "
                "for example kind folder"
            )
        if test.splits is not None:
            _check_splits(f"tests.{name}.splits", test.splits)


def check_answers(recipe: Recipe, *, answers_once: bool, methods: Collection[str]) -> None:
    """Refuse a network or a method that does not fit the labels, and options that need maps.

    Args:
        recipe: whose data to look at.
        answers_once: whether its network answers once per image.
        methods: names of those that learn from such answers.

    Raises:
        ConfigError: the first thing wrong, in one line.
    """
    data, model = recipe.data, recipe.model.name
    if data.balanced and data.supervision is not None:
        raise ConfigError(
            "data.balanced and data.supervision both say which cases form a batch; leave one of them out"
        )
    if data.source.kind not in IMAGE_LABELS:
        if answers_once:
            raise ConfigError(
                f"model.name: {model} answers once per image; a student that segments is one of "
                "`meddistill.models.list_models()`, for example smp/unet (to classify, give a source of "
                f"image labels: {', '.join(IMAGE_LABELS)})"
            )
        return
    if not answers_once:
        raise ConfigError(
            f"model.name: {model} answers for every pixel, but data.source has labels of whole images; give "
            "a network of timm, for example timm/resnet18"
        )
    if recipe.method["name"] not in methods:
        raise ConfigError(
            f"method.name: {recipe.method['name']} learns from maps, but data.source has labels of whole "
            f"images; give one of {', '.join(methods)}"
        )
    for key in ("supervision", "patch"):
        if getattr(data, key) is not None:
            raise ConfigError(
                f"data.{key} is for maps, but data.source has labels of whole images; leave it out"
            )


def _check_size(data: DataConfig) -> None:
    """Refuse data of no size, or of two."""
    if data.size is None and (data.patch is None or data.source.kind == "phantom"):
        raise ConfigError("data.size: this key is required")
    if data.size is not None and data.patch is not None and data.source.kind != "phantom":
        raise ConfigError(
            "data.size and data.patch are both given; leave out data.size: patches are cut from volumes at "
            "their own size"
        )


def _check_splits(where: str, splits: SplitConfig) -> None:
    part = splits.part
    if part is not None and part.index >= part.of:
        raise ConfigError(
            f"{where}.part.index is {part.index}, but the {part.of} parts are counted from 0; give 0 to "
            f"{part.of - 1}"
        )
    subset = splits.subset
    if subset is not None and subset.index >= subset.of:
        raise ConfigError(
            f"{where}.subset.index is {subset.index}, but the {subset.of} subsets are counted from 0; give 0 "
            f"to {subset.of - 1}"
        )


def _check_noise(noise: NoiseConfig, kind: str) -> None:
    """Refuse noise that is unknown, has wrong options, or is made for labels of another kind."""
    from meddistill.data.noise import NOISES, ClassNoise, create_noise

    if kind == "images":
        raise ConfigError("data.noise makes labels wrong, but data.source has none; leave it out")
    if noise.name in NOISES:
        known = [*(option.name for option in fields(NOISES[noise.name])), "seed", "splits"]  # type: ignore[arg-type]
        for option in noise.options:
            if option not in known:
                raise ConfigError("data.noise: " + unknown_name(f"option of {noise.name}", option, known))
    made = create_noise(noise.name, **noise.options)
    of_images = kind in IMAGE_LABELS
    if isinstance(made, ClassNoise) == of_images:
        return
    fitting = [name for name, other in NOISES.items() if issubclass(other, ClassNoise) == of_images]
    what = "maps" if of_images else "classes"
    has = "labels of whole images" if of_images else "maps"
    raise ConfigError(
        f"data.noise.name: {noise.name} is for {what}, but data.source has {has}; give {', '.join(fitting)}"
    )


def check_name(section: str, name: str) -> None:
    """Refuse a name of a set of cases that means something else, or that cannot name files.

    Args:
        section: of the recipe, `tests` or `attacks`.
        name: a key of it.

    Raises:
        ConfigError: in one line.
    """
    if name.lower() in _SPLITS:
        raise ConfigError(f"{section}.{name}: this is the name of a split of data; give it another name")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{section}: {name!r} cannot name files; use letters, digits, - and _, and begin with a letter "
            "or digit"
        )
