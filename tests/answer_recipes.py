"""Tiny recipes over labels of whole images, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.data.answers import class_tree, label_table, medmnist_file
from tests.recipes import tiny

MODEL = {"name": "timm/resnet10t", "options": {"channels": [4, 4, 8, 8], "stem_width": 4}}
FRACTIONS = {"train": 0.5, "selection": 0.2, "calibration": 0.15, "test": 0.15}


def classes(place: Path, **changes: Any) -> dict[str, Any]:
    """One class an image, three of them, two images a patient."""
    root = place / "classes"
    if not root.exists():
        class_tree(root, per_class=20, classes=3)
    source = {"kind": "class_folder", "root": str(root), "group_pattern": "^([^_]+)"}
    return _recipe(source, {"fractions": FRACTIONS}, changes)


def labels(place: Path, **changes: Any) -> dict[str, Any]:
    """Two labels an image, in lists."""
    folder = place / "labels"
    file = folder / "list.csv" if folder.exists() else label_table(folder, cases=48)
    source = {
        "kind": "table", "file": str(file), "root": str(folder / "images"), "image": "Image Index",
        "label": "Finding Labels", "separator": "|", "group": "Patient ID",
    }  # fmt: skip
    return _recipe(source, {"fractions": FRACTIONS}, changes)


def medmnist(place: Path, **changes: Any) -> dict[str, Any]:
    """One class of two an image, in an npz with its own splits."""
    file = place / "tiny.npz"
    if not file.exists():
        medmnist_file(file, per_part=20)
    return _recipe({"kind": "medmnist", "file": str(file)}, {"carve": {"calibration": 0.2}}, changes)


def _recipe(source: dict[str, Any], splits: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    # In float32: on a CPU the bfloat16 gradient of a stride of 2 over a map of one pixel may be NaN.
    training = {"epochs": 2, "batch_size": 8, "lr": 0.01, "precision": "32"}
    base = tiny(model=MODEL, training=training)
    base["data"] = {"source": source, "splits": splits, "size": [16, 16]}
    from meddistill.config.load import merge

    return merge(base, changes)
