"""Images without labels: the transferal set that teachers annotate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from meddistill.data.case import Case
from meddistill.data.sources.folder import group_of_name, images_and_masks
from meddistill.data.sources.scan import (
    FlatImages,
    check_channels,
    compiled_pattern,
    ignored_label,
    image_of,
)
from meddistill.errors import ConfigError, DataError


@dataclass(frozen=True)
class ImageSource(FlatImages):
    """All images below a folder, of which no label is known.

    Cases are named as `FolderSource` names them. Their folders are no strata, because the name of a folder
    may be a label. Files whose name makes them a mask (`<name>_mask`, `<name>_mask_1`, ...) are never opened:
    they are left out and counted. A folder `splits` is left out too.

    Args:
        root: the folder, searched recursively.
        class_names: name of each class that teachers and student tell apart, the background first.
        channels: 1 for grey, 3 for colour.
        group_pattern: regular expression searched in the file name (without ending); its first group, or the
            whole match, names the group. By default each case is its own group.

    Raises:
        DataError: the root is missing or empty, holds masks alone, two images share a name, or a name does
            not match `group_pattern`.
        ConfigError: an argument is out of range.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("ABCD_1", "ABCD_1_mask"):
        ...     Image.new("L", (3, 2)).save(root / f"{name}.png")
        >>> source = ImageSource(root, group_pattern="^(....)")
        >>> [(case.id, case.group) for case in source.cases], source.left_out
        ([('ABCD_1', 'ABCD')], 1)
        >>> source.read_label(source.cases[0]).tolist()
        [[-100, -100, -100], [-100, -100, -100]]
    """

    labelled: ClassVar[bool] = False

    root: Path
    _: KW_ONLY
    class_names: tuple[str, ...] = ("background", "foreground")
    channels: int = 1
    group_pattern: str | None = None
    cases: tuple[Case, ...] = field(init=False, repr=False)
    left_out: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_channels(self.channels)
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "class_names", _checked_names(self.class_names))
        pattern = compiled_pattern(self.group_pattern)
        images, masks = images_and_masks(self.root)
        left_out = sum(len(files) for files in masks.values())
        if not images:
            raise DataError(
                f"{self.root}: holds nothing but {left_out} files named as masks (<name>_mask); give the "
                "folder of the images"
            )
        cases = tuple(_case(name, path, pattern) for name, path in sorted(images.items()))
        object.__setattr__(self, "cases", cases)
        object.__setattr__(self, "left_out", left_out)

    def read_label(self, case: Case) -> npt.NDArray[np.int16]:
        """`IGNORE_INDEX` everywhere, as (H, W) of the image.

        Raises:
            DataError: the image's header cannot be read.
        """
        return ignored_label(image_of(case))


def _case(name: str, image: Path, group: re.Pattern[str] | None) -> Case:
    return Case(id=name, image=image, group=group_of_name(group, name, image))


def _checked_names(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str) or len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"class_names must be at least two different names, the background first, not {names!r}"
        )
    return tuple(names)
