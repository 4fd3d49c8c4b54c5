"""What `meddistill inspect` looks at: a folder, a manifest, or the data of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meddistill.config import load_recipe
from meddistill.config.load import check_section, merge, shipped_recipes
from meddistill.config.schema import DataConfig
from meddistill.data import split_cases
from meddistill.data.case import Source, Split
from meddistill.data.inspect import Inspection, inspect_source
from meddistill.data.sources.layouts import VOLUME_LAYOUTS, source_options, volume_layout
from meddistill.errors import ConfigError, nearest
from meddistill.training.data import build_source, divide

_NAMES = {"train": "train", "selection": "selection", "val": "selection", "test": "test"}


def inspect_data(
    data: str, *, files: Mapping[str, Path] | None = None, overrides: Mapping[str, Any] | None = None
) -> Inspection:
    """Inspect a data set and, where one is known, its split.

    Args:
        data: a class-folder tree, volumes in one of the layouts of docs/volumes.md, a `.csv` manifest, or a
            recipe. A folder's own `splits/*.json` lists (with `train`, `val`, `selection` or `test` in their
            names) are used when no `files` are given.
        files: JSON lists by split name, as given or below the folder.
        overrides: for a recipe, values laid over it; for a folder or manifest, options of its source.

    Raises:
        DataError: the source cannot be scanned at all.
        ConfigError: nothing is called `data`, or an unknown option.
    """
    path = Path(data)
    if not path.exists() and not _may_be_recipe(path):
        raise ConfigError(f"{data} does not exist; give a folder, a .csv manifest or a recipe")
    if path.is_dir():
        source = _source(_options(path, overrides or {}), overrides)
        given = {name: file if file.is_file() else path / file for name, file in (files or {}).items()}
        lists = given or _own_lists(path)
        return inspect_source(source, split_cases(source, files=lists) if lists else None)
    if path.suffix == ".csv":
        source = _source({"kind": "manifest", "file": data}, overrides)
        return inspect_source(source, _own_split(source))
    recipe = load_recipe(data, overrides)
    source = build_source(recipe.data.source, size=tuple(recipe.data.size))
    return inspect_source(source, divide(recipe.data, source))


def _may_be_recipe(path: Path) -> bool:
    """Whether what is missing was meant as a recipe, so that `load_recipe` names the nearest one."""
    near = len(path.parts) == 1 and path.suffix != ".csv" and nearest(path.stem, shipped_recipes())
    return path.suffix in (".yaml", ".yml") or bool(near)


def _options(folder: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a folder by looking at it, where `overrides` do not say otherwise."""
    kind = overrides.get("kind") or volume_layout(folder) or "folder"
    if kind not in VOLUME_LAYOUTS:
        return {"kind": kind, "root": str(folder)}
    return source_options(folder, kind, guess_classes="classes" not in overrides)


def _source(defaults: dict[str, Any], overrides: Mapping[str, Any] | None) -> Source:
    """A source from its kind and the options given on the command line, checked as in a recipe."""
    section = merge(defaults, overrides or {})
    config = check_section(DataConfig, {"source": section, "size": [1, 1]})
    return build_source(config.source)


def _own_lists(root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted((root / "splits").glob("*.json")):
        for part, name in _NAMES.items():
            if part in file.stem.lower() and name not in found:
                found[name] = file
    return found


def _own_split(source: Source) -> Split | None:
    return split_cases(source) if any(case.split for case in source.cases) else None
