"""Sequences of frames with colour-coded label images: the layout of EndoVis 2018."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.data.case import IGNORE_INDEX, Case
from meddistill.data.images import read_image, strip_ending
from meddistill.data.sources.scan import (
    FlatImages,
    Unlabelled,
    check_channels,
    check_choice,
    ignored_label,
    image_files,
    image_of,
    listed,
)
from meddistill.errors import DataError

Palette = tuple[tuple[int, int], ...]
"""Pairs of a colour, packed as red * 65536 + green * 256 + blue, and its class number."""


@dataclass(frozen=True)
class PaletteSource(FlatImages):
    """Frames `<sequence>/left_frames/<name>` with labels `<sequence>/labels/<name>`, and a JSON palette.

    The palette is a list of `{"name": ..., "color": [r, g, b], "classid": n}` with class numbers 0..K-1. A
    sequence is a group, since its frames resemble each other. Colours that the palette does not name are
    ignored.

    Args:
        root: the folder that holds the sequences, at any depth.
        palette_json: the palette; `labels.json` in `root` when not given.
        channels: 3 for colour, 1 for grey.
        unlabelled: "refuse" frames without a label image, or "allow" them with every pixel ignored.

    Raises:
        DataError: the root is missing or holds no frames, the palette is malformed, a label has no frame, or
            a frame has no label (unless allowed).
    """

    root: Path
    palette_json: Path | None = None
    _: KW_ONLY
    channels: int = 3
    unlabelled: Unlabelled = "refuse"
    class_names: tuple[str, ...] = field(init=False)
    palette: Palette = field(init=False, repr=False)
    cases: tuple[Case, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_channels(self.channels)
        check_choice("unlabelled", self.unlabelled, ("refuse", "allow"))
        root = Path(self.root)
        cases = _scan(root, self.unlabelled)
        path = root / "labels.json" if self.palette_json is None else Path(self.palette_json)
        names, palette = read_palette(path)
        for name, value in (
            ("root", root),
            ("palette_json", path),
            ("class_names", names),
            ("palette", palette),
            ("cases", cases),
        ):
            object.__setattr__(self, name, value)

    def read_label(self, case: Case) -> npt.NDArray[np.int16]:
        """The class numbers as (H, W), `IGNORE_INDEX` where the colour is unknown.

        Raises:
            DataError: the label image cannot be read or is not an 8-bit image.
        """
        if not case.labels:
            return ignored_label(image_of(case))
        colours = read_image(case.labels[0], 3)
        if colours.dtype != np.uint8:
            raise DataError(f"{case.labels[0]}: a colour-coded label must be an 8-bit image")
        return decode_colours(colours, self.palette)


def decode_colours(colours: npt.NDArray[np.generic], palette: Palette) -> npt.NDArray[np.int16]:
    """Class numbers (H, W) of an RGB image (3, H, W) uint8; `IGNORE_INDEX` for colours not in `palette`.

    Example:
        >>> image = np.array([[[255, 9]], [[0, 9]], [[0, 9]]], dtype=np.uint8)
        >>> decode_colours(image, ((0xFF0000, 1),))
        array([[   1, -100]], dtype=int16)
    """
    red, green, blue = colours.astype(np.int32)
    label: npt.NDArray[np.int16] = _table(palette)[(red << 16) | (green << 8) | blue] + np.int16(IGNORE_INDEX)
    return label


@lru_cache(maxsize=4)
def _table(palette: Palette) -> npt.NDArray[np.int16]:
    """Class number less `IGNORE_INDEX` for each 24-bit colour; 0, in pages that cost nothing, is unknown."""
    table = np.zeros(2**24, dtype=np.int16)
    for colour, value in palette:
        table[colour] = value - IGNORE_INDEX
    return table


def read_palette(path: Path | str) -> tuple[tuple[str, ...], Palette]:
    """Class names and colours of a JSON palette.

    Raises:
        DataError: the file cannot be read, an entry is malformed, one colour stands for two classes, or the
            class numbers are not 0..K-1.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: the palette cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path}: the palette is not JSON ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise DataError(f'{path}: a palette is a list of {{"name", "color", "classid"}}')
    names: dict[int, str] = {}
    colours: dict[int, int] = {}
    for position, entry in enumerate(entries):
        name, colour, value = _entry(entry, f"{path}, entry {position}")
        names.setdefault(value, name)
        if colours.setdefault(colour, value) != value:
            raise DataError(
                f"{path}, entry {position}: the colour of {name} already stands for another class"
            )
    if sorted(names) != list(range(len(names))):
        raise DataError(
            f"{path}: class numbers must be 0..{len(names) - 1} without gaps, not {sorted(names)}"
        )
    return tuple(names[value] for value in range(len(names))), tuple(sorted(colours.items()))


def _entry(entry: Any, where: str) -> tuple[str, int, int]:
    """Name, packed colour and class number of one entry."""
    if not isinstance(entry, Mapping):
        raise DataError(f'{where}: expected {{"name", "color", "classid"}}, not {entry!r}')
    name, colour, value = entry.get("name"), entry.get("color"), entry.get("classid")
    if (
        not isinstance(name, str)
        or not isinstance(value, int)
        or not isinstance(colour, list)
        or len(colour) != 3
    ):
        raise DataError(f"{where}: needs a name, a color of three numbers and a whole classid")
    if not all(isinstance(part, int) and 0 <= part <= 255 for part in colour):
        raise DataError(f"{where}: color {colour} must be three whole numbers in 0..255")
    return name, (colour[0] << 16) | (colour[1] << 8) | colour[2], value


def _scan(root: Path, unlabelled: Unlabelled) -> tuple[Case, ...]:
    files = image_files(root)
    labels = _by_frame(root, files, "labels")
    frames = _by_frame(root, files, "left_frames")
    if not frames:
        raise DataError(f"{root}: no images in a folder <sequence>/left_frames")
    lone = [path for key, path in labels.items() if key not in frames]
    if lone:
        raise DataError(f"label without frame: {listed(lone)}; add the frame or remove the label")
    bare = [path for key, path in frames.items() if key not in labels]
    if bare and unlabelled == "refuse":
        raise DataError(f"frame without label: {listed(bare)}; add labels/<name> or move the frame elsewhere")
    return tuple(_case(key, frames[key], labels.get(key)) for key in sorted(frames))


def _by_frame(root: Path, files: list[Path], folder: str) -> dict[tuple[str, str], Path]:
    found: dict[tuple[str, str], Path] = {}
    for path in files:
        if path.parent.name == folder:
            key = (path.parent.parent.relative_to(root).as_posix(), strip_ending(path.name))
            if key in found:
                raise DataError(f"{path}: {found[key].name} has the same name; rename one of them")
            found[key] = path
    return found


def _case(key: tuple[str, str], frame: Path, label: Path | None) -> Case:
    sequence, name = key
    return Case(
        id=name if sequence == "." else f"{sequence}/{name}",
        image=frame,
        labels=() if label is None else (label,),
        group=sequence,
    )
