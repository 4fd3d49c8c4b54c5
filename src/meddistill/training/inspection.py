"""What `meddistill inspect` looks at: a folder, a manifest, or the data of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from meddistill.config import Recipe, load_recipe
from meddistill.config.load import check_section, merge, shipped_recipes
from meddistill.config.schema import DataConfig
from meddistill.data import split_cases
from meddistill.data._inspect_weak import examine_weak
from meddistill.data.case import Source, Split
from meddistill.data.images import strip_ending
from meddistill.data.inspect import Inspection, add_supervision, inspect_source
from meddistill.data.sources.layouts import VOLUME_LAYOUTS, source_options, volume_layout
from meddistill.data.sources.scan import image_files
from meddistill.deploy.targets import is_mask
from meddistill.errors import ConfigError, DataError, nearest
from meddistill.training.data import TaskData, build_source, divide
from meddistill.training.noise_record import noise_table
from meddistill.training.sheet import check_sheet, label_pictures, weak_pictures, write_sheet

_NAMES = {"train": "train", "selection": "selection", "val": "selection", "test": "test"}


def inspect_data(
    data: str,
    *,
    files: Mapping[str, Path] | None = None,
    overrides: Mapping[str, Any] | None = None,
    sheet: Path | None = None,
) -> Inspection:
    """Inspect a data set and, where one is known, its split.

    Of a recipe with `data.supervision` the weak labels are looked at too, as training will see them, and of
    one with `data.noise` what it really changes. Data that cannot be read, or whose groups leak, get neither
    that nor a sheet.

    Args:
        data: a class-folder tree with or without masks, volumes in one of the layouts of docs/volumes.md, a
            `.csv` manifest (or table of labels, with `kind: table` among the overrides), a `.npz` of
            MedMNIST, or a recipe. A folder's own `splits/*.json` lists (with `train`, `val`, `selection` or
            `test` in their names) are used when no `files` are given.
        files: JSON lists by split name, as given or below the folder.
        overrides: for a recipe, values laid over it; for a folder or manifest, options of its source.
        sheet: a PNG to draw a dozen cases with their labels into.

    Raises:
        DataError: the source cannot be scanned at all.
        ConfigError: nothing is called `data`, an unknown option, or `sheet` is no PNG.
        RunError: the sheet cannot be written.
    """
    if sheet is not None:
        check_sheet(sheet)
    source, split, recipe = _found(data, files, overrides)
    inspection = inspect_source(source, split)
    if not inspection.can_be_read:
        return inspection
    if recipe is not None and recipe.data.noise is not None:
        table = noise_table(TaskData.from_config(recipe.data, seed=recipe.seed))
        inspection = replace(inspection, tables=(*inspection.tables, table))
    if recipe is not None and recipe.data.supervision is not None:
        cache = TaskData.from_config(recipe.data, seed=recipe.seed).dataset("train").cache
        facts = examine_weak(cache)
        inspection = add_supervision(inspection, facts, source.class_names)
        pictures = weak_pictures(cache, facts) if sheet is not None else []
    else:
        pictures = label_pictures(source, source.cases) if sheet is not None else []
    if sheet is not None:
        write_sheet(sheet, pictures, source.class_names)
    return inspection


def _found(
    data: str, files: Mapping[str, Path] | None, overrides: Mapping[str, Any] | None
) -> tuple[Source, Split | None, Recipe | None]:
    """The source that `data` names, its split, and the recipe where it is one."""
    path = Path(data)
    if not path.exists() and not _may_be_recipe(path):
        raise ConfigError(f"{data} does not exist; give a folder, a .csv manifest, a .npz file or a recipe")
    if path.is_dir():
        source = _source(_options(path, overrides or {}), overrides)
        given = {name: file if file.is_file() else path / file for name, file in (files or {}).items()}
        lists = given or _own_lists(path)
        return source, split_cases(source, files=lists) if lists else _own_split(source), None
    if path.suffix == ".npz":
        source = _source({"kind": "medmnist", "file": data}, overrides)
        return source, _own_split(source), None
    if path.suffix == ".csv":
        source = _source({"kind": "manifest", "file": data}, overrides)
        return source, _own_split(source), None
    recipe = load_recipe(data, overrides)
    source = build_source(recipe.data.source, size=tuple(recipe.data.size or ()))
    return source, divide(recipe.data, source), recipe


def _may_be_recipe(path: Path) -> bool:
    """Whether what is missing was meant as a recipe, so that `load_recipe` names the nearest one."""
    near = (
        len(path.parts) == 1 and path.suffix not in (".csv", ".npz") and nearest(path.stem, shipped_recipes())
    )
    return path.suffix in (".yaml", ".yml") or bool(near)


def _options(folder: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a folder by looking at it, where `overrides` do not say otherwise."""
    kind = overrides.get("kind") or volume_layout(folder) or _image_layout(folder)
    if kind not in VOLUME_LAYOUTS:
        return {"kind": kind, "root": str(folder)}
    return source_options(folder, kind, guess_classes="classes" not in overrides)


def _image_layout(folder: Path) -> str:
    """`class_folder` where there are several folders of images and no mask, else `folder`."""
    try:
        files = image_files(folder, skip=("splits",))
    except DataError:
        return "folder"
    places = {file.relative_to(folder).parts[0] for file in files}
    masked = any(is_mask(strip_ending(file.name)) for file in files)
    return (
        "folder"
        if masked or len(places) < 2 or any((folder / name).is_file() for name in places)
        else ("class_folder")
    )


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
