"""What nnU-Net and the Decathlon say of a data set in `dataset.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meddistill.data.volumes.classes import ClassMap
from meddistill.errors import ConfigError, DataError

FILE = "dataset.json"


@dataclass(frozen=True)
class Description:
    """A `dataset.json` that was read.

    Args:
        path: the file.
        content: all of it.
    """

    path: Path
    content: Mapping[str, Any]

    @classmethod
    def read(cls, root: Path) -> Description:
        """The one in `root`.

        Raises:
            DataError: it cannot be read, or is not a JSON object.
        """
        path = root / FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise DataError(f"{path}: not JSON ({error})") from error
        if not isinstance(content, Mapping):
            raise DataError(f"{path}: expected an object with the key labels")
        return cls(path, content)

    @property
    def channels(self) -> int:
        """How many channels an image has: the names under `channel_names`, or `modality` in older files.

        Raises:
            DataError: there are none.
        """
        names = self.content.get("channel_names", self.content.get("modality"))
        if not isinstance(names, Mapping) or not names:
            raise DataError(f"{self.path}: needs channel_names (or modality) with one key a channel")
        return len(names)

    @property
    def ignore(self) -> int | None:
        """The label value named `ignore`, if there is one."""
        value = self.labels().get("ignore")
        return None if value is None else value[0]

    def classes(self) -> dict[str, list[int]]:
        """The label values of each class, background first.

        Raises:
            DataError: `labels` is missing or malformed, or gives a value to several classes.
        """
        classes = {name: values for name, values in self.labels().items() if name != "ignore"}
        classes = dict(sorted(classes.items(), key=lambda item: 0 not in item[1]))
        try:
            ClassMap.of(classes, self.ignore)
        except ConfigError as error:
            raise DataError(f"{self.path}: labels: {error}; or give classes in the recipe") from error
        return classes

    def labels(self) -> dict[str, list[int]]:
        """Label values by name, from `{"name": value}` (nnU-Net) or `{"value": "name"}` (Decathlon)."""
        labels = self.content.get("labels")
        found: dict[str, list[int]] = {}
        for key, value in labels.items() if isinstance(labels, Mapping) else ():
            if isinstance(value, str) and key.isdecimal():
                found.setdefault(value, []).append(int(key))
            elif _is_whole(value):
                found[key] = [value]
            elif isinstance(value, list) and value and all(map(_is_whole, value)):
                found[key] = list(value)
            else:
                raise DataError(f"{self.path}: labels: {key!r}: {value!r} is no label value")
        if not found:
            raise DataError(f"{self.path}: needs labels, for example {{'background': 0, 'lesion': 1}}")
        return found


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
