"""What the data of a recipe must agree on, beyond the type of each key."""

from __future__ import annotations

import re

from meddistill.config.schema import DataConfig, Recipe, SplitConfig
from meddistill.errors import ConfigError

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
