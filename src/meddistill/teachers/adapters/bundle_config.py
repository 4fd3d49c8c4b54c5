"""The configs of a MONAI bundle as data: references are followed, expressions are not evaluated.

Format: https://docs.monai.io/en/stable/config_syntax.html. `@a::b` (or `@a#b`) refers to another entry,
    `$...` is
Python, `%...` takes from another file, `_target_` names what to build.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from meddistill.errors import TeacherError

_SUFFIXES = (".json", ".yaml", ".yml")


class BundleConfig:
    """One config file.

    Args:
        path: the file, for messages.
        entries: its content.
    """

    def __init__(self, path: Path, entries: Mapping[str, Any]) -> None:
        self.path = path
        self.entries = entries

    def get(self, identity: str) -> Any:
        """The entry at `a::b`, with references followed; None when there is none.

        Raises:
            TeacherError: it (or what it refers to) is an expression, or refers to itself.

        Example:
            >>> config = BundleConfig(Path("c"), {"classes": 3, "net": {"out": "@classes"}})
            >>> config.get("net")
            {'out': 3}
        """
        return self._follow(f"@{identity}", identity, ())

    def _follow(self, value: Any, where: str, above: tuple[str, ...]) -> Any:
        """`value` with every reference in it replaced; `above` are the references that led here."""
        if isinstance(value, Mapping):
            return {key: self._follow(item, f"{where}::{key}", above) for key, item in value.items()}
        if isinstance(value, list):
            return [self._follow(item, f"{where}::{n}", above) for n, item in enumerate(value)]
        if isinstance(value, str) and value[:1] in ("$", "%"):
            raise TeacherError(
                f"{self.path}: the entry {where} is an expression ({value[:40]}), which is not run"
            )
        if isinstance(value, str) and value.startswith("@"):
            return self._follow(self._raw(value, above), where, (*above, value))
        return value

    def _raw(self, reference: str, above: tuple[str, ...]) -> Any:
        """The entry that `@a::b` names; what it holds is left as it is."""
        if reference in above:
            raise TeacherError(f"{self.path}: the entry {reference[1:]} refers to itself")
        value: Any = self.entries
        for part in reference[1:].replace("#", "::").split("::"):
            while isinstance(value, str) and value.startswith("@"):
                above = (*above, reference)
                reference = value
                value = self._raw(value, above)
            if isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                value = value.get(part) if isinstance(value, Mapping) else None
        return value


def read_config(folder: Path, names: tuple[str, ...]) -> BundleConfig | None:
    """The first config file that the folder has, in the order of `names`; None without any.

    Raises:
        TeacherError: it cannot be read, or is no mapping.
    """
    for path in (folder / f"{name}{suffix}" for name in names for suffix in _SUFFIXES):
        if path.is_file():
            return BundleConfig(path, _mapping(path))
    return None


def _mapping(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise TeacherError(f"MONAI bundle: {path} cannot be read as plain data: {reason}") from error
    if not isinstance(content, Mapping):
        raise TeacherError(f"MONAI bundle: {path} does not hold a mapping")
    return content
