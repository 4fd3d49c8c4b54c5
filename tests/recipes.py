"""Tiny recipes for tests: generated images, a network of a few hundred weights, seconds of training."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from meddistill.config import Recipe
from meddistill.config.load import check_recipe, merge

PACED = {
    "name": "paced",
    "mode": "tpl_uncert",
    "temperature": 4.5,
    "confidence_temperature": "calibrate",
    "beta": 0.7,
    "gamma": 0.8,
    "every": 1,
}

_BASE: dict[str, Any] = {
    "name": "tiny",
    "data": {
        "source": {"kind": "phantom", "cases": 28, "seed": 1},
        "splits": {"fractions": {"train": 0.58, "selection": 0.14, "calibration": 0.14, "test": 0.14}},
        "size": [32, 32],
    },
    "model": {"name": "pcd/unet", "options": {"width": 2}},
    "method": {"name": "supervised"},
    "training": {"epochs": 3, "batch_size": 4},
}


def tiny(**changes: Any) -> dict[str, Any]:
    """The mapping of a tiny recipe with `changes` laid over it."""
    return merge(copy.deepcopy(_BASE), changes)


def tiny_recipe(**changes: Any) -> Recipe:
    """A tiny recipe with `changes` laid over it."""
    return check_recipe(tiny(**changes))


def write_recipe(folder: Path, **changes: Any) -> Path:
    """Write a tiny recipe as YAML and return its file."""
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(tiny(**changes)))
    return file
