"""Packages whose names are imported when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module-level `__getattr__` that fetches each name from its module.

    Args:
        package: the `__name__` of the package that exports the names.
        homes: for each exported name the module that defines it, relative to the package.

    Example:
        >>> lazy_names("collections", {"Mapping": "abc"})("Mapping").__name__
        'Mapping'
        >>> lazy_names("collections", {})("Nothing")
        Traceback (most recent call last):
        ...
        AttributeError: module 'collections' has no attribute 'Nothing'
    """

    def fetch(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return fetch
