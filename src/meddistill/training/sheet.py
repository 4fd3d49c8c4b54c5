"""The contact sheet of `meddistill inspect`: which cases it shows, and what of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from meddistill.data._inspect_weak import WeakFacts
from meddistill.data.cache import CaseCache
from meddistill.data.case import IGNORE_INDEX, Case, Source
from meddistill.data.resize import resize_label
from meddistill.data.sheet import Picture, contact_sheet
from meddistill.data.task import answers_images
from meddistill.errors import ConfigError
from meddistill.evaluation.answer_gallery import in_words
from meddistill.files import replacing

SHOWN = 12
"""Cases on a sheet."""

Plane = npt.NDArray[np.integer[Any]]
Item = TypeVar("Item")


def check_sheet(file: Path) -> None:
    """Refuse a name that is not that of a PNG.

    Raises:
        ConfigError: it is not.
    """
    if file.suffix.lower() != ".png":
        raise ConfigError(f"--sheet writes a PNG; give a name that ends in .png, not {file.name}")


def write_sheet(
    file: Path, pictures: Sequence[Picture], class_names: Sequence[str], *, right: str = "full label"
) -> None:
    """Draw the pictures into a PNG; `right` says what is shown on the right.

    Raises:
        RunError: it cannot be written.
    """
    with replacing(file) as temporary:
        contact_sheet(pictures, class_names, right=right).save(temporary, format="PNG")


def label_pictures(source: Source, cases: Sequence[Case]) -> list[Picture]:
    """A dozen cases, evenly spread, with their full labels; those of whole images stand beside the name.

    Raises:
        DataError: a file cannot be read.
    """
    if answers_images(source):
        return [
            Picture(
                case.id, in_words(source.read_label(case), tuple(source.class_names)), source.read_image(case)
            )
            for case in spread(cases)
        ]
    return [_picture(case.id, "", source.read_image(case), source.read_label(case)) for case in spread(cases)]


def weak_pictures(cache: CaseCache, facts: Sequence[WeakFacts]) -> list[Picture]:
    """A dozen training cases with weak and full label, from the least to the most labelled.

    At most one of them has no labelled pixel, so that these do not fill the sheet.

    Args:
        cache: made with a supervision.
        facts: of its cases, in its order.
    """
    order = sorted(range(len(facts)), key=lambda index: facts[index].weak.labelled)
    bare = [index for index in order if not facts[index].weak.labelled]
    return [_weak_picture(cache, facts[index], index) for index in spread(order[max(0, len(bare) - 1) :])]


def _weak_picture(cache: CaseCache, facts: WeakFacts, index: int) -> Picture:
    image, weak = cache.images.read([index])[0], cache.weak_map(index)
    label = resize_label(torch.from_numpy(cache.source.read_label(facts.case)), tuple(weak.shape))
    note = f"{facts.share:.2%} labelled ({facts.weak.labelled} pixels)"
    note += ", keeps its full label" if facts.full else ""
    return _picture(facts.case.id, note, image.numpy(), label.numpy(), weak.numpy())


def _picture(
    title: str, note: str, image: npt.NDArray[np.generic], label: Plane, weak: Plane | None = None
) -> Picture:
    """The case, or of a volume the slice across its first axis in which most is labelled."""
    if label.ndim == 3:
        shown = label > 0 if weak is None or (weak == IGNORE_INDEX).all() else weak != IGNORE_INDEX
        middle = np.arange(len(shown)) == len(shown) // 2
        position = int((shown.sum((1, 2)) + 0.5 * middle).argmax())
        title = f"{title}, slice {position}"
        image, label = image[:, position], label[position]
        weak = None if weak is None else weak[position]
    return Picture(title, note, image, label, weak)


def spread(items: Sequence[Item], count: int = SHOWN) -> list[Item]:
    """At most `count` of the items, evenly spaced, the first and the last among them.

    Example:
        >>> spread("abcdefgh", 3), spread("", 3)
        (['a', 'e', 'h'], [])
    """
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]
