"""Telling the layouts of volumes apart, for a folder of which nothing else is known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from meddistill.data.sources.description import FILE, Description
from meddistill.data.sources.volume_folder import named_volumes
from meddistill.data.volumes.classes import numbered_classes, whole_numbers
from meddistill.data.volumes.nifti import read_nifti
from meddistill.data.volumes.reading import is_dicom
from meddistill.errors import DataError
from meddistill.progress import track

VOLUME_LAYOUTS = ("volumes", "nnunet", "decathlon", "dicom")
"""Kinds of sources of volumes, as recipes name them."""


def volume_layout(root: Path) -> str | None:
    """The kind of source that reads `root`: `nnunet`, `decathlon`, `volumes`, `dicom`, or None.

    Raises:
        DataError: there is a `dataset.json` that cannot be read.
    """
    if (root / FILE).is_file():
        return "decathlon" if "training" in _listing(root) else "nnunet"
    if named_volumes(root / "images"):
        return "volumes"
    return "dicom" if any(_begins_with_dicom(folder, names) for folder, _, names in os.walk(root)) else None


def source_options(root: Path, kind: str, *, guess_classes: bool = True) -> dict[str, Any]:
    """Options of a source of that kind where nobody gives any.

    Unlabelled volumes are allowed, and where nothing names the classes each label value is one.

    Args:
        root: the folder.
        kind: one of `VOLUME_LAYOUTS`.
        guess_classes: read the labels for their values; not needed where classes are given.
    """
    options: dict[str, Any] = {"kind": kind, "root": str(root), "unlabelled": "allow"}
    if guess_classes and kind in ("volumes", "dicom"):
        folder = root / "labels" if kind == "volumes" else root
        options["classes"] = numbered_classes(_label_values(folder))
    return options


def _label_values(folder: Path) -> set[int]:
    """All values in the labels that can be read; damaged ones are reported when the cases are."""
    values: set[int] = {0, 1}
    for path in track(list(named_volumes(folder).values()), "reading labels"):
        try:
            values |= {int(value) for value in np.unique(whole_numbers(read_nifti(path), path))}
        except DataError:
            continue
    return values


def _begins_with_dicom(folder: str, names: Sequence[str]) -> bool:
    """Whether the first file of a folder is DICOM; large trees of images must not be opened file by file."""
    shown = sorted(name for name in names if not name.startswith(".") and name.upper() != "DICOMDIR")
    return bool(shown) and is_dicom(Path(folder, shown[0]))


def _listing(root: Path) -> Any:
    content = Description.read(root).content
    # nnU-Net's first version listed its cases too, but its files end in a channel.
    first_version = any((root / "imagesTr").glob("*_0000.nii*"))
    return {} if first_version else content
