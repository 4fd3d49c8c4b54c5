"""A tree of class folders with `<name>_mask.png` files: the layout of BUSI and BUS-UCLM."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from meddistill.data.case import Case
from meddistill.data.images import read_mask, strip_ending
from meddistill.data.sources.scan import (
    FlatImages,
    Unlabelled,
    check_channels,
    check_choice,
    compiled_pattern,
    ignored_label,
    image_files,
    image_of,
    listed,
    matched_name,
)
from meddistill.errors import ConfigError, DataError

_MASK = re.compile(r"^(?P<image>.+)_mask(_\d+)?$")


@dataclass(frozen=True)
class FolderSource(FlatImages):
    """Images in class folders, each beside its binary masks `<name>_mask`, `<name>_mask_1`, ...

    Several masks of one image are merged by union. The folder is the stratum (nested folders join with `/`),
    a folder `splits` and files that are not images are left out. Only names are looked at here; sizes are
    checked by `meddistill.data.validate.check_files`.

    Args:
        root: the folder that holds the class folders.
        channels: 1 for grey, 3 for colour.
        threshold: mask values above it are lesion. The code released with P-CD counts only 255; for that,
            give 254.
        unlabelled: "refuse" images without a mask, or "allow" them with every pixel ignored.
        group_pattern: regular expression searched in the file name (without ending); its first group, or the
            whole match, names the group. `"^(....)"` gives the patient in BUS-UCLM. By default each case is
            its own group.

    Raises:
        DataError: the root is missing or empty, a mask has no image, an image has no mask (unless allowed),
            two images share a name, or a name does not match `group_pattern`.
        ConfigError: an argument is out of range.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for name, grey in (("ABCD_1", 90), ("ABCD_1_mask", 255)):
        ...     Image.new("L", (3, 2), grey).save(root / f"{name}.png")
        >>> source = FolderSource(root, group_pattern="^(....)")
        >>> source.cases[0].group, source.read_label(source.cases[0]).tolist()
        ('ABCD', [[1, 1, 1], [1, 1, 1]])
    """

    root: Path
    _: KW_ONLY
    channels: int = 1
    threshold: int = 127
    unlabelled: Unlabelled = "refuse"
    group_pattern: str | None = None
    cases: tuple[Case, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice("unlabelled", self.unlabelled, ("refuse", "allow"))
        check_channels(self.channels)
        if self.threshold < 0:
            raise ConfigError(f"threshold must be 0 or more, not {self.threshold!r}")
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "cases", self._scan(compiled_pattern(self.group_pattern)))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Background and lesion."""
        return ("background", "lesion")

    def read_label(self, case: Case) -> npt.NDArray[np.int16]:
        """The union of the masks as (H, W) with 0 and 1; all ignored for an unlabelled case.

        Raises:
            DataError: a mask cannot be read, two masks differ in size, or a mask has values but none above
                the threshold (it would silently count as empty).
        """
        if not case.labels:
            return ignored_label(image_of(case))
        masks = [self._lesion(path) for path in case.labels]
        if len({mask.shape for mask in masks}) > 1:
            raise DataError(f"{case.labels[0]}: the masks of {case.id} differ in size")
        union: npt.NDArray[np.int16] = np.any(masks, axis=0).astype(np.int16)
        return union

    def _lesion(self, path: Path) -> npt.NDArray[np.bool_]:
        values = read_mask(path)
        largest = int(values.max())
        if 0 < largest <= self.threshold:
            raise DataError(
                f"{path}: the largest mask value is {largest}, not above the threshold {self.threshold}; "
                f"give a threshold below {largest}"
            )
        return values > self.threshold

    def _scan(self, group: re.Pattern[str] | None) -> tuple[Case, ...]:
        images, masks = images_and_masks(self.root)
        self._check_pairs(images, masks)
        return tuple(_case(name, path, masks.get(name, []), group) for name, path in sorted(images.items()))

    def _check_pairs(self, images: Mapping[str, Path], masks: Mapping[str, list[Path]]) -> None:
        lone = [files[0] for name, files in sorted(masks.items()) if name not in images]
        if lone:
            raise DataError(f"mask without image: {listed(lone)}; add the image or remove the mask")
        bare = [path for name, path in sorted(images.items()) if name not in masks]
        if bare and self.unlabelled == "refuse":
            raise DataError(
                f"image without mask: {listed(bare)}; add <name>_mask.png or move the image elsewhere"
            )


def images_and_masks(root: Path) -> tuple[dict[str, Path], dict[str, list[Path]]]:
    """The image of each name below `root`, and the files that the names make masks of it.

    Names are relative to `root`, without ending; a folder `splits` is left out. No file is opened.

    Raises:
        DataError: the root is missing or holds no image, or two images share a name.
    """
    images: dict[str, Path] = {}
    masks: dict[str, list[Path]] = {}
    for path in image_files(root, skip=("splits",)):
        name = strip_ending(path.relative_to(root).as_posix())
        match = _MASK.match(name)
        if match:
            masks.setdefault(match["image"], []).append(path)
        elif name in images:
            raise DataError(f"{path}: {images[name].name} has the same name; rename one of them")
        else:
            images[name] = path
    return images, masks


def group_of_name(pattern: re.Pattern[str] | None, name: str, image: Path) -> str:
    """The group of the image called `name`: what the pattern finds in its last part, or the whole name.

    Raises:
        DataError: the pattern is not found.

    Example:
        >>> group_of_name(re.compile("^(..)"), "benign/ABCD_1", Path("benign/ABCD_1.png"))
        'AB'
    """
    return name if pattern is None else matched_name(pattern, name.rpartition("/")[2], image)


def _case(name: str, image: Path, masks: list[Path], group: re.Pattern[str] | None) -> Case:
    named = group_of_name(group, name, image)
    return Case(id=name, image=image, labels=tuple(masks), group=named, stratum=name.rpartition("/")[0])
