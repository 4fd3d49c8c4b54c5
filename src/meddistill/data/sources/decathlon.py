"""Data of the Medical Segmentation Decathlon: pairs listed in `dataset.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from meddistill.data.case import Case
from meddistill.data.sources.described import DescribedSource
from meddistill.data.volumes.nifti import strip_nifti
from meddistill.errors import DataError


@dataclass(frozen=True)
class DecathlonSource(DescribedSource):
    """A folder whose `dataset.json` lists `training` pairs of image and label, and `test` images.

    Several modalities lie along the fourth axis of an image. A case is named by its file, or by its path
    where file names repeat. Images under `test` are cases without label, and only there with
    `unlabelled="allow"`.

    Raises:
        DataError: `dataset.json` is missing or malformed, or names a file that is missing or stands twice.
        ConfigError: an argument is out of range.
    """

    def _channels_of_file(self) -> int:
        return self.in_channels

    def _scan(self) -> Iterator[Case]:
        pairs = [self._pair(entry, "training") for entry in self._entries("training")]
        if self.unlabelled == "allow":
            pairs += [self._pair(entry, "test") for entry in self._entries("test")]
        names = [PurePosixPath(image).as_posix() for image, _ in pairs]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DataError(f"{self.description.path}: {twice[0]} stands twice; list each image once")
        short = [PurePosixPath(name).name for name in names]
        ids = short if len(set(short)) == len(short) else names
        for case_id, (image, label) in zip(ids, pairs, strict=True):
            labels = () if label is None else (self._file(label),)
            yield Case(strip_nifti(case_id), self._file(image), labels)

    def _entries(self, key: str) -> list[Any]:
        entries = self.description.content.get(key, [])
        if not isinstance(entries, list) or (key == "training" and not entries):
            raise DataError(
                f'{self.description.path}: {key} must be a list of {{"image": ..., "label": ...}}'
            )
        return entries

    def _pair(self, entry: Any, key: str) -> tuple[str, str | None]:
        if isinstance(entry, str):
            return entry, None
        image, label = (
            (entry.get("image"), entry.get("label")) if isinstance(entry, Mapping) else (None, None)
        )
        if not isinstance(image, str) or not isinstance(label, str | None):
            raise DataError(
                f'{self.description.path}: {key}: expected {{"image": ..., "label": ...}}, not {entry!r}'
            )
        return image, label

    def _file(self, name: str) -> Path:
        path = self.root / PurePosixPath(name)
        if not path.is_file():
            raise DataError(f"{self.description.path}: names a file that is not there: {path}")
        return path
