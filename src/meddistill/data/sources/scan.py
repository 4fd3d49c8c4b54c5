"""What the sources on disk share: walking a folder and pairing images with labels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
import numpy.typing as npt

from meddistill.data.case import IGNORE_INDEX, Case
from meddistill.data.images import is_image, original_size, read_image
from meddistill.errors import ConfigError, DataError

Unlabelled = Literal["refuse", "allow"]
"""What to do with an image without label: refuse the folder, or keep the case with every pixel ignored."""


def check_choice(kind: str, value: str, known: Sequence[str]) -> None:
    """Refuse a value that is not among `known`.

    Raises:
        ConfigError: it is not.
    """
    if value not in known:
        raise ConfigError(f"{kind} must be {' or '.join(repr(name) for name in known)}, not {value!r}")


def image_files(root: Path, *, skip: Sequence[str] = ()) -> list[Path]:
    """All image files below `root` in sorted order, without hidden ones and the folders named in `skip`.

    Raises:
        DataError: `root` is missing, is not a folder, holds no image, or a folder in it cannot be listed.
    """
    if not root.exists():
        raise DataError(f"{root}: no such folder")
    if not root.is_dir():
        raise DataError(f"{root}: not a folder")
    found: list[Path] = []
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_refuse_folder):
        subfolders[:] = [name for name in subfolders if not _hidden(name) and name not in skip]
        found += [Path(folder, name) for name in names if is_image(name) and not _hidden(name)]
    if not found:
        raise DataError(f"{root}: the folder holds no images")
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def listed(items: Iterable[object], *, limit: int = 3) -> str:
    """The first few items and how many more there are, for one-line messages.

    Example:
        >>> listed("abcde")
        'a, b, c and 2 more'
    """
    shown = [str(item) for item in items]
    more = f" and {len(shown) - limit} more" if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + more


def compiled_pattern(pattern: str | None) -> re.Pattern[str] | None:
    """A `group_pattern`, ready to be searched.

    Raises:
        ConfigError: it is not a regular expression.
    """
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"group_pattern {pattern!r} is not a regular expression: {error}") from error


def matched_name(pattern: re.Pattern[str], name: str, file: Path) -> str:
    """The group that `name` says: the first group of the pattern, or the whole match.

    Raises:
        DataError: the pattern is not found in `name`, that of `file`.

    Example:
        >>> matched_name(re.compile("^(patient[0-9]+)_"), "patient001_frame01", Path("a.nii"))
        'patient001'
    """
    match = pattern.search(name)
    if match is None:
        raise DataError(f"{file}: the name does not match group_pattern {pattern.pattern!r}")
    return (match[1] if pattern.groups else None) or match[0]


def image_of(case: Case) -> Path:
    """The image file of `case`.

    Raises:
        DataError: the case has none.
    """
    if case.image is None:
        raise DataError(f"case {case.id} has no image file")
    return case.image


class FlatImages:
    """What sources of 2D image files have in common: they read `channels` channels of each case's image."""

    channels: int

    @property
    def in_channels(self) -> int:
        """The number of channels asked for."""
        return self.channels

    @property
    def dims(self) -> int:
        """Always 2."""
        return 2

    def read_image(self, case: Case) -> npt.NDArray[np.generic]:
        """The image as (C, H, W); see `meddistill.data.images.read_image`."""
        return read_image(image_of(case), self.channels)


def check_channels(channels: int) -> None:
    """Refuse a channel count that no reader offers.

    Raises:
        ConfigError: `channels` is neither 1 nor 3.
    """
    if channels not in (1, 3):
        raise ConfigError(f"channels must be 1 or 3, not {channels!r}")


def ignored_label(image: Path) -> npt.NDArray[np.int16]:
    """The label map of an unlabelled image: `IGNORE_INDEX` everywhere, at the image's size."""
    return np.full(original_size(image), IGNORE_INDEX, dtype=np.int16)


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def _refuse_folder(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename}: the folder cannot be listed ({error.strerror})") from error
