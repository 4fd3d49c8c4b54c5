"""What the data of a recipe must agree on, beyond the type of each key."""

from __future__ import annotations

import re
from collections.abc import Collection

from meddistill.config.schema import DataConfig, Recipe, SplitConfig
from meddistill.errors import ConfigError

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
    for name, test in recipe.tests.items():
        _check_name(name)
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


def _check_name(name: str) -> None:
    if name.lower() in _SPLITS:
        raise ConfigError(
            f"tests.{name}: this is the name of a split of data; give the test set another name"
        )
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"tests: {name!r} cannot name files; use letters, digits, - and _, and begin with a letter or "
            "digit"
        )
