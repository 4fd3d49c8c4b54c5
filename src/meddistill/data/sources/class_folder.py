"""A folder per class: the images of each class lie in (or below) a folder with its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import NamedTuple

from meddistill.data.case import Case
from meddistill.data.images import strip_ending
from meddistill.data.sources.answers import ImageAnswers, Target, checked_names, set_fields
from meddistill.data.sources.scan import (
    FlatImages,
    check_channels,
    compiled_pattern,
    image_files,
    matched_name,
)
from meddistill.data.task import Task
from meddistill.errors import ConfigError, DataError, unknown_name

SPLIT_FOLDERS: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "selection",
    "valid": "selection",
    "validation": "selection",
    "selection": "selection",
    "calibration": "calibration",
    "test": "test",
    "testing": "test",
}
"""Names of folders (in lower case) above those of the classes, and the splits that they stand for."""

_MASK = re.compile(r"^(?P<image>.+)_mask(_\d+)?$")


@dataclass(frozen=True)
class ClassFolderSource(FlatImages, ImageAnswers):
    """Images in folders named after their class, `root/CLASS/.../name.png`: one class for each image.

    Where all folders of `root` have names of splits (`train`, `val`, `test`, ...), the classes are the
    folders below them and the splits are as the folders say. Files `<name>_mask` beside an image are masks,
    and a folder `splits` holds lists; both are left out.

    Args:
        root: the folder that holds the class folders.
        channels: 1 for grey, 3 for colour.
        class_names: the classes in the order of their numbers; by default the sorted names of the folders.
        group_pattern: regular expression searched in the file name (without ending); its first group, or the
            whole match, names the group. `"^([^_]+)"` gives the patient in NIH ChestX-ray. By default each
            case is its own group.
        leave_out: class folders whose images are not used, for example those of another source.

    Raises:
        DataError: the root is missing or empty, an image lies in no class folder, there is one class only,
            a folder is not among `class_names`, one to leave out does not exist, two images share a name, or
            a name does not match `group_pattern`.
        ConfigError: an argument is out of range.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("healthy/a", "sick/b"):
        ...     (root / name).parent.mkdir()
        ...     Image.new("L", (3, 2)).save(root / f"{name}.png")
        >>> source = ClassFolderSource(root)
        >>> source.class_names, [int(source.read_label(case)) for case in source.cases]
        (('healthy', 'sick'), [0, 1])
    """

    root: Path
    _: KW_ONLY
    channels: int = 1
    class_names: tuple[str, ...] = ()
    group_pattern: str | None = None
    leave_out: tuple[str, ...] = ()
    task: Task = field(init=False, default="classification")
    left_out: int = field(init=False, default=0)
    cases: tuple[Case, ...] = field(init=False, repr=False)
    targets: Mapping[str, Target] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_channels(self.channels)
        root, pattern = Path(self.root), compiled_pattern(self.group_pattern)
        files = image_files(root, skip=("splits",))
        images = _without_masks(root, files)
        with_splits = _are_splits(root, images)
        found = _used(
            [_located(root, path, with_splits=with_splits) for path in images], self.leave_out, root
        )
        names = checked_names(self.class_names, (one.name for one in found), where=root, kind="class")
        cases = tuple(_case(one, names, root, pattern) for one in found)
        _check_unique(cases)
        set_fields(
            self,
            root=root,
            class_names=names,
            left_out=len(files) - len(images),
            cases=cases,
            targets={case.id: (names.index(one.name),) for case, one in zip(cases, found, strict=True)},
        )


class _Located(NamedTuple):
    """An image, the name of its class and the split that its folder stands for."""

    path: Path
    name: str
    split: str | None


def _without_masks(root: Path, files: Iterable[Path]) -> list[Path]:
    names = {strip_ending(path.relative_to(root).as_posix()): path for path in files}
    masks = {name for name in names if (match := _MASK.match(name)) and match["image"] in names}
    return [path for path in files if strip_ending(path.relative_to(root).as_posix()) not in masks]


def _are_splits(root: Path, images: Iterable[Path]) -> bool:
    folders = {path.relative_to(root).parts[0].lower() for path in images}
    return "train" in {SPLIT_FOLDERS.get(folder, "") for folder in folders} and folders <= set(SPLIT_FOLDERS)


def _located(root: Path, path: Path, *, with_splits: bool) -> _Located:
    *folders, _ = path.relative_to(root).parts
    split = SPLIT_FOLDERS[folders.pop(0).lower()] if with_splits and folders else None
    if not folders:
        raise DataError(f"{path}: lies in no class folder; move it into the folder of its class")
    return _Located(path, folders[0], split)


def _used(found: Sequence[_Located], leave_out: tuple[str, ...], root: Path) -> list[_Located]:
    """Those outside the folders to leave out."""
    if isinstance(leave_out, str):
        raise ConfigError(f"leave_out must be a list of names, not the text {leave_out!r}")
    folders = sorted({one.name for one in found})
    for name in leave_out:
        if name not in folders:
            raise DataError(f"{root}: leave_out: {unknown_name('class', name, folders)}")
    return [one for one in found if one.name not in leave_out]


def _case(one: _Located, names: tuple[str, ...], root: Path, pattern: re.Pattern[str] | None) -> Case:
    if one.name not in names:
        raise DataError(f"{one.path}: {unknown_name('class', one.name, names)}")
    name = strip_ending(one.path.relative_to(root).as_posix())
    stem = name.rpartition("/")[2]
    group = name if pattern is None else matched_name(pattern, stem, one.path)
    return Case(id=name, image=one.path, group=group, stratum=one.name, split=one.split)


def _check_unique(cases: Iterable[Case]) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        if case.id in seen:
            raise DataError(f"{case.image} and {seen[case.id].image} have one name; rename one of them")
        seen[case.id] = case
