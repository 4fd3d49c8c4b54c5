"""A contact sheet: cases of a data set with their labels, on one picture to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.resize import resize_image, resize_label, resize_weak
from meddistill.data.weak.shapes import widened

if TYPE_CHECKING:
    from PIL import Image

COLOURS = (
    (80, 170, 255),
    (255, 75, 85),
    (75, 220, 110),
    (255, 210, 60),
    (215, 110, 255),
    (255, 150, 60),
    (70, 225, 225),
)
"""Colour of each class, background first; more classes than that share those of the foreground."""

_SMALL, _LARGE = 320, 512
_GAP, _LINE = 8, 20
_SPECK = 25
_PAPER, _INK, _FAINT = (24, 24, 28), (235, 235, 235), (160, 160, 165)

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Picture:
    """One case (or a slice of it) on the sheet.

    Args:
        title: its name.
        note: a few words more.
        image: (C, H, W) uint8, or floating point in 0..1.
        label: full label (H, W); None shows the image without one.
        weak: weak label (H, W); None shows the image alone beside the full label.
    """

    title: str
    note: str
    image: npt.NDArray[Any]
    label: Labels | None = None
    weak: Labels | None = None


def contact_sheet(
    pictures: Sequence[Picture], class_names: Sequence[str], *, right: str = "full label"
) -> Image.Image:
    """All pictures on one sheet: on the left the image with its weak label, on the right with its full one.

    Small images are enlarged by a whole factor, so that single pixels can be seen; large ones are shrunk, and
    no weakly labelled pixel is lost on the way.

    Args:
        pictures: at least one, in the order of the sheet.
        class_names: name of each label value, for the legend.
        right: what is shown on the right, for the legend.

    Example:
        >>> label = np.eye(64, dtype=np.int16)
        >>> picture = Picture("a", "", np.zeros((1, 64, 64), np.uint8), label, label)
        >>> contact_sheet([picture], ["background", "lesion"]).size
        (660, 404)
    """
    from PIL import Image, ImageDraw

    tiles = [_tile(picture) for picture in pictures]
    width, height = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    columns = min(len(tiles), 3 if width <= 2 * 400 else 2)
    rows = math.ceil(len(tiles) / columns)
    top = _GAP + _LINE + _GAP
    size = (columns * (width + _GAP) + _GAP, top + rows * (height + _GAP))
    sheet = Image.new("RGB", size, _PAPER)
    if any(picture.label is not None for picture in pictures):
        left = "image" if all(picture.weak is None for picture in pictures) else "weak label"
        _write_legend(ImageDraw.Draw(sheet), class_names, f"left: {left}    right: {right}")
    for position, tile in enumerate(tiles):
        row, column = divmod(position, columns)
        sheet.paste(tile, (_GAP + column * (width + _GAP), top + row * (height + _GAP)))
    return sheet


def _tile(picture: Picture) -> Image.Image:
    """The panels side by side under their title."""
    from PIL import Image, ImageDraw

    image, label, weak = _scaled(picture)
    between = np.full((len(image), _GAP // 2, 3), _PAPER, dtype=np.uint8)
    panels = [image if weak is None else _painted(image, weak)]
    panels += [] if label is None else [between, _shaded(image, label)]
    pixels = np.concatenate(panels, axis=1)
    tile = Image.new("RGB", (pixels.shape[1], pixels.shape[0] + 2 * _LINE), _PAPER)
    tile.paste(Image.fromarray(pixels), (0, 2 * _LINE))
    draw = ImageDraw.Draw(tile)
    draw.text((0, 0), _fitting(draw, picture.title, tile.width), _INK, font=_font())
    draw.text((0, _LINE), _fitting(draw, picture.note, tile.width), _FAINT, font=_font())
    return tile


def _scaled(picture: Picture) -> tuple[Pixels, Labels | None, Labels | None]:
    """Image (H, W, 3) and labels at the size of a panel."""
    image = torch.from_numpy(_as_bytes(picture.image))
    label = None if picture.label is None else torch.from_numpy(picture.label)
    weak = None if picture.weak is None else torch.from_numpy(picture.weak)
    longest = max(image.shape[1:])
    if longest > _LARGE:
        size = tuple(max(1, round(side * _LARGE / longest)) for side in image.shape[1:])
        image = resize_image(image, size, "area")
        label = None if label is None else resize_label(label, size)
        weak = None if weak is None else resize_weak(weak, size)
    factor = math.ceil(_SMALL / max(image.shape[1:]))
    size = tuple(side * factor for side in image.shape[1:])
    shown = resize_image(image, size).numpy()
    maps = [None if values is None else resize_label(values, size).numpy() for values in (label, weak)]
    return np.ascontiguousarray(np.broadcast_to(shown, (3, *size)).transpose(1, 2, 0)), maps[0], maps[1]


def _as_bytes(image: npt.NDArray[Any]) -> Pixels:
    pixels = image if image.dtype == np.uint8 else (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(pixels if len(pixels) in (1, 3) else pixels[:1])


def _painted(image: Pixels, weak: Labels) -> Pixels:
    """The labelled pixels in their colours, with a dark rim that sets them off, and specks in a ring."""
    from scipy.ndimage import binary_dilation

    painted = (image * 0.8).astype(np.uint8)
    labelled = weak != IGNORE_INDEX
    rim = binary_dilation(labelled, np.ones((3, 3))) & ~labelled
    painted[rim] //= 4
    values = [int(value) for value in np.unique(weak[labelled])]
    for value in values:
        painted[_rings(weak == value) & ~labelled] = class_colour(value)
    for value in values:
        painted[weak == value] = class_colour(value)
    return painted


def _rings(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """A ring round every part of the mask that is too small to be seen."""
    from scipy import ndimage

    numbered, count = ndimage.label(mask, np.ones((3, 3)))
    small = np.flatnonzero(np.bincount(numbered.ravel(), minlength=count + 1) <= _SPECK)
    specks = np.isin(numbered, small) & mask
    ring: npt.NDArray[np.bool_] = widened(specks, 11) & ~widened(specks, 9)
    return ring


def _shaded(image: Pixels, label: Labels) -> Pixels:
    """The classes shaded, with a line round each; what is ignored is dark."""
    from scipy.ndimage import binary_erosion

    shaded = image.copy()
    shaded[label == IGNORE_INDEX] //= 3
    for value in np.unique(label[label > 0]):
        mask, colour = label == value, np.array(class_colour(int(value)))
        shaded[mask] = (0.65 * image[mask] + 0.35 * colour).astype(np.uint8)
        shaded[mask & ~binary_erosion(mask, np.ones((3, 3)), 2)] = colour
    return shaded


def class_colour(value: int) -> tuple[int, int, int]:
    """The colour of a class.

    Example:
        >>> class_colour(1) == class_colour(7)
        True
    """
    return COLOURS[0] if value == 0 else COLOURS[1 + (value - 1) % (len(COLOURS) - 1)]


def _write_legend(draw: Any, class_names: Sequence[str], sides: str) -> None:
    across: float = _GAP
    for value, name in enumerate(class_names):
        draw.rectangle((across, _GAP + 3, across + 12, _GAP + 15), fill=class_colour(value))
        draw.text((across + 18, _GAP), name, _INK, font=_font())
        across += 18 + draw.textlength(name, font=_font()) + 24
    draw.text((across, _GAP), sides, _FAINT, font=_font())


def _fitting(draw: Any, text: str, width: int) -> str:
    """The end of the text that fits, which tells cases apart better than the beginning."""
    shown = text
    while draw.textlength(shown, font=_font()) > width and len(text) > 1:
        text = text[1:]
        shown = "…" + text
    return shown


def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(14)
