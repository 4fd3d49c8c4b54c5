"""The npz files of MedMNIST (Yang et al., Scientific Data 2023), with their own splits."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.data.case import Case
from meddistill.data.sources.answers import ImageAnswers, Target, set_fields, strata
from meddistill.data.sources.scan import check_channels
from meddistill.data.task import Task
from meddistill.errors import ConfigError, DataError

PARTS: Mapping[str, str] = {"train": "train", "val": "selection", "test": "test"}
"""The parts of a file and the splits that they are."""

_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class MedMnistSource(ImageAnswers):
    """The 2D images of one MedMNIST file, `train_images` (N, H, W) or (N, H, W, 3) uint8 and so on.

    Labels of shape (N, 1) are classes; (N, L) are L labels that do not exclude each other. The parts `train`,
    `val` and `test` of the file are the splits train, selection and test. Images are read from the file part
    by part when they are first asked for.

    Args:
        file: the npz file.
        channels: 1 for grey, 3 for colour; the images are converted.
        class_names: name of each class or label; by default `class 0`, `class 1`, ...

    Raises:
        DataError: the file cannot be read, lacks an array, or holds something else than 2D uint8 images with
            whole numbers as labels.
        ConfigError: `class_names` or `channels` do not fit.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "tiny.npz"
        >>> images, labels = np.zeros((2, 4, 4), np.uint8), np.array([[0], [1]], np.uint8)
        >>> parts = {f"{part}_{what}": value for part in PARTS
        ...          for what, value in (("images", images), ("labels", labels))}
        >>> np.savez(file, **parts)
        >>> source = MedMnistSource(file)
        >>> [(case.id, case.split) for case in source.cases[1:3]], int(source.read_label(source.cases[1]))
        ([('train/00001', 'train'), ('val/00000', 'selection')], 1)
    """

    file: Path
    _: KW_ONLY
    channels: int = 1
    class_names: tuple[str, ...] = ()
    task: Task = field(init=False)
    cases: tuple[Case, ...] = field(init=False, repr=False)
    targets: Mapping[str, Target] = field(init=False, repr=False)
    _images: dict[str, npt.NDArray[np.uint8]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_channels(self.channels)
        file = Path(self.file)
        labels = {part: _labels(file, part) for part in PARTS}
        task = _task(file, list(labels.values()))
        names = _names(file, self.class_names, np.concatenate(list(labels.values())), task)
        cases = tuple(_cases(labels, names, task))
        targets = [tuple(map(int, row)) for part in PARTS for row in labels[part]]
        set_fields(
            self,
            file=file,
            class_names=names,
            task=task,
            cases=cases,
            targets={case.id: target for case, target in zip(cases, targets, strict=True)},
            _images={},
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without the images, which another process reads again."""
        return {**vars(self), "_images": {}}

    @property
    def in_channels(self) -> int:
        """The number of channels asked for."""
        return self.channels

    @property
    def dims(self) -> int:
        """Always 2."""
        return 2

    def read_image(self, case: Case) -> npt.NDArray[np.generic]:
        """The image as (C, H, W) uint8; colour becomes luminance for one channel, grey is repeated for three.

        Raises:
            DataError: the file has changed or cannot be read any more.
        """
        part, _, number = case.id.partition("/")
        images = self._part(part)
        if int(number) >= len(images):
            raise DataError(f"{self.file}: the file has changed since it was opened; start again")
        image = images[int(number)]
        if image.ndim == 2:
            return np.repeat(image[None], self.channels, axis=0)
        if self.channels == 3:
            return np.ascontiguousarray(image.transpose(2, 0, 1))
        grey: npt.NDArray[np.uint8] = (image.astype(np.float32) @ _LUMINANCE).round().astype(np.uint8)
        return grey[None]

    def _part(self, part: str) -> npt.NDArray[np.uint8]:
        if part not in self._images:
            images = _array(self.file, f"{part}_images")
            flat = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
            if images.dtype != np.uint8 or not flat:
                raise DataError(
                    f"{self.file}: {part}_images is {images.dtype} {images.shape}; only 2D images (N, H, W) "
                    "or (N, H, W, 3) of type uint8 are read, volumes are not"
                )
            self._images[part] = images
        return self._images[part]


def _array(file: Path, name: str) -> npt.NDArray[Any]:
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    if not zipfile.is_zipfile(file):
        raise DataError(f"{file}: not an npz file, or damaged")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            array: npt.NDArray[Any] = arrays[name]
            return array
    except KeyError as error:
        raise DataError(
            f"{file}: holds no {name}; a MedMNIST file has images and labels of train, val and test"
        ) from error
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: cannot be read as npz ({' '.join(str(error).split())})") from error


def _labels(file: Path, part: str) -> npt.NDArray[Any]:
    """Labels (N, 1) or (N, L) of one part."""
    labels = _array(file, f"{part}_labels")
    labels = labels[:, None] if labels.ndim == 1 else labels
    if labels.ndim != 2 or labels.dtype.kind not in "ui" or (labels.size and labels.min() < 0):
        raise DataError(
            f"{file}: {part}_labels is {labels.dtype} {labels.shape}; give whole numbers (N, 1) or (N, L)"
        )
    return labels.astype(np.int64)


def _task(file: Path, labels: Sequence[npt.NDArray[Any]]) -> Task:
    widths = {part.shape[1] for part in labels}
    if len(widths) > 1:
        raise DataError(f"{file}: the parts have labels of different widths: {sorted(widths)}")
    if widths == {1}:
        return "classification"
    if max(int(part.max(initial=0)) for part in labels) > 1:
        raise DataError(f"{file}: several labels an image must be 0 or 1 each")
    return "multi_label"


def _names(file: Path, given: Sequence[str], labels: npt.NDArray[Any], task: Task) -> tuple[str, ...]:
    count = labels.shape[1] if task == "multi_label" else int(labels.max(initial=0)) + 1
    if isinstance(given, str) or (given and len(given) < count):
        raise ConfigError(
            f"class_names names {len(given)} of the {count} classes of {file}; give one for each"
        )
    if len(given or range(count)) < 2:
        raise DataError(f"{file}: there is only one class; at least two are needed to tell apart")
    return tuple(given) or tuple(f"class {number}" for number in range(count))


def _cases(labels: Mapping[str, npt.NDArray[Any]], names: tuple[str, ...], task: Task) -> Iterator[Case]:
    rows = {part: [tuple(map(int, row)) for row in labels[part]] for part in PARTS}
    every = [row for part in PARTS for row in rows[part]]
    balanced = iter(strata(every, names, task))
    for part, split in PARTS.items():
        for number in range(len(rows[part])):
            name = f"{part}/{number:05}"
            yield Case(id=name, group=name, stratum=next(balanced), split=split)
