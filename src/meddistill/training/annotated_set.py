"""A data set with the masks that teachers wrote: images, masks, soft masks and a list that a source reads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from meddistill.data._folders import new_folder
from meddistill.data.case import Case
from meddistill.data.images import original_size
from meddistill.data.sheet import Picture
from meddistill.errors import ConfigError, DataError
from meddistill.exclusion import Exclusion
from meddistill.files import csv_text, write_json, write_text
from meddistill.progress import track
from meddistill.training.data import TaskData
from meddistill.training.member_storing import StoredMembers
from meddistill.training.scoring import volume_input
from meddistill.training.sheet import SHOWN, spread, write_sheet
from meddistill.training.storing import Stored
from meddistill.training.transfer import Teaching, choose_cases, reader

KEPT_SHOWN = SHOWN * 2 // 3
"""Kept cases on the contact sheet, where there are excluded ones to show as well."""


def check_images(data: TaskData) -> None:
    """Refuse data of which no plain masks can be written.

    Raises:
        ConfigError: they are volumes, or slices of them.
    """
    if volume_input(data.config, data.source) is not None:
        raise ConfigError(
            "--masks writes masks of plain images, and these are volumes; leave it out: the store has their "
            "logits"
        )


def write_annotated_set(
    folder: Path, task: Teaching, stored: Stored | StoredMembers | None, splits: Sequence[str]
) -> Exclusion:
    """Write a data folder from the teachers' answers; it appears whole or not at all.

    It holds `images/` (copies) and `masks/` at the images' own sizes (0 and 255 with two classes, else the
    class numbers), `soft/` (the probability of the foreground as 8-bit PNG, or with more classes all of them
    as float16 in `probabilities` (K, H, W) of an npz), all for the cases that are kept; `manifest.csv`, which
    the source in `source.yaml` reads; `exclusion.json` and `exclusion.csv`; and `sheet.png` to look at.

    Args:
        folder: to make.
        task: its data are narrowed to what is kept.
        stored: the answers; None where they are asked anew.
        splits: whose cases are written.

    Raises:
        DataError: no case is kept, the folder exists, or it cannot be written.
    """
    found = choose_cases(task, stored, splits)
    with new_folder(folder) as temporary:
        rows = []
        for split in splits:
            for case, logits in _kept(task, stored, split):
                rows.append({**_write_case(temporary, task.data, case, logits), "split": split})
        write_text(temporary / "manifest.csv", _table(rows))
        write_text(temporary / "source.yaml", _source(folder, task.data))
        write_json(temporary / "exclusion.json", found.to_json())
        write_text(temporary / "exclusion.csv", found.to_csv())
        names = list(task.data.source.class_names)
        pictures = _pictures(task, stored, splits, found)
        write_sheet(temporary / "sheet.png", pictures, names, right="mask of the teachers")
    return found


def _kept(task: Teaching, stored: Stored | StoredMembers | None, split: str) -> Iterator[tuple[Case, Tensor]]:
    """The kept cases of a split with their logits (K, *S), one by one."""
    read = reader(task, stored, split, members=False)
    for position, case in enumerate(track(task.data.dataset(split).cache.cases, "writing masks")):
        yield case, read([position])[0]


def _write_case(folder: Path, data: TaskData, case: Case, logits: Tensor) -> dict[str, str]:
    """Write image, mask and soft mask of a case; its row in the manifest."""
    image = _write_image(folder, data, case)
    size = original_size(case.image or image)
    whole = F.interpolate(logits[None], size=size, mode="bilinear")[0]
    labels, probabilities = whole.max(0).indices.numpy().astype(np.uint8), whole.softmax(0).numpy()
    mask = _inside(folder, "masks", case.id, ".png")
    if len(whole) == 2:
        _save(labels * 255, mask)
        _save((probabilities[1] * 255).round().astype(np.uint8), _inside(folder, "soft", case.id, ".png"))
    else:
        _save(labels, mask)
        soft = _inside(folder, "soft", case.id, ".npz")
        np.savez_compressed(soft, probabilities=probabilities.astype(np.float16))
    places = [file.relative_to(folder).as_posix() for file in (image, mask)]
    return {"image": places[0], "label": places[1], "group": case.group}


def _write_image(folder: Path, data: TaskData, case: Case) -> Path:
    """A copy of the case's file, or a PNG of an image that was generated."""
    image = _inside(folder, "images", case.id, ".png" if case.image is None else case.image.suffix)
    if case.image is None:
        _save(data.source.read_image(case), image)
    else:
        shutil.copyfile(case.image, image)
    return image


def _inside(folder: Path, kind: str, name: str, ending: str) -> Path:
    """A file below `folder`, whose folder is made.

    Raises:
        DataError: the name leads elsewhere.
    """
    file = folder / kind / f"{name}{ending}"
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise DataError(f"case {name} cannot be written below {kind}/: its name leads out of the folder")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _save(values: Any, file: Path) -> None:
    """An array (H, W), or (C, H, W) of bytes or of numbers in 0..1, as PNG."""
    pixels = values if values.dtype == np.uint8 else (values * 255).round().astype(np.uint8)
    if pixels.ndim == 3:
        pixels = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, format="PNG")


def _table(rows: Sequence[dict[str, str]]) -> str:
    return csv_text(["image", "label", "group", "split"], rows)


def _source(folder: Path, data: TaskData) -> str:
    """The section `data.source` of a recipe that trains on the folder."""
    source = {
        "kind": "manifest",
        "file": str(folder / "manifest.csv"),
        "class_names": list(data.source.class_names),
        "channels": data.source.in_channels,
    }
    return yaml.safe_dump({"data": {"source": source}}, sort_keys=False, allow_unicode=True)


def _pictures(
    task: Teaching, stored: Stored | StoredMembers | None, splits: Sequence[str], found: Exclusion
) -> list[Picture]:
    """Cases that are kept, then some that are excluded and say so, each with the teachers' mask."""
    whole = Teaching(task.recipe, task.data.whole(), task.method, task.teacher)
    places = {
        case: (split, position) for split in splits for position, case in enumerate(whole.data.cases(split))
    }
    kept, removed = list(found.kept), list(found.removed)
    shown = spread(kept, KEPT_SHOWN if removed else SHOWN) + spread(removed, SHOWN - KEPT_SHOWN)
    pictures = []
    for case in shown:
        split, position = places[case]
        mask = reader(whole, stored, split, members=False)([position])[0].argmax(0)
        image = whole.data.dataset(split).cache.images.read([position])[0]
        by = found.removed.get(case)
        title, note = (f"EXCLUDED {case}", f"by {by}") if by else (case, "kept")
        pictures.append(Picture(title, note, image.numpy(), mask.to(torch.int16).numpy()))
    return pictures
