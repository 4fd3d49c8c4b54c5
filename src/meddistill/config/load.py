"""From YAML text and command-line overrides to a checked `Recipe`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from meddistill.config.attack_checks import check_attacks
from meddistill.config.attacks import AttackConfig
from meddistill.config.data_checks import check_answers, check_data
from meddistill.config.schema import Recipe, SourceConfig, TeacherConfig, TeacherSourceConfig
from meddistill.config.section import Section
from meddistill.errors import ConfigError, nearest, unknown_name

S = TypeVar("S", bound=Section)


class _Loader(yaml.SafeLoader):
    """Safe loader that reads `3e-3` as the number it is (YAML 1.1 calls it text)."""


class _Dumper(yaml.SafeDumper):
    """Safe dumper that quotes what `_Loader` would take for a number."""


_FLOAT = re.compile(
    r"^[-+]?(\d[\d_]*)(\.\d*)?([eE][-+]?\d+)$|^[-+]?(\d[\d_]*)?\.\d+([eE][-+]?\d+)?$|^[-+]?\.(inf|nan)$"
)
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def parse_yaml(text: str, origin: str) -> Any:
    """Parse YAML that may hold plain values only.

    Raises:
        ConfigError: not valid YAML, or a tag that asks for code.

    Example:
        >>> parse_yaml("lr: 3e-3", "example")
        {'lr': 0.003}
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is not valid YAML: {_yaml_problem(error)}") from error


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def shipped_recipes() -> dict[str, Path]:
    """Name and file of each recipe in the package.

    Example:
        >>> "pcd-busi" in shipped_recipes()
        True
    """
    folder = Path(str(resources.files("meddistill.recipes")))
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str) -> Path:
    """The recipe file called `name`: a path, or a shipped recipe with or without `.yaml`.

    Raises:
        ConfigError: no such file and no such recipe.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if path.name == name and path.stem in shipped and path.suffix in ("", ".yaml"):
        return shipped[path.stem]
    if path.suffix in (".yaml", ".yml") and (path.name != name or not nearest(path.stem, shipped)):
        raise ConfigError(f"recipe file {name} does not exist; `meddistill recipes` lists the shipped ones")
    raise ConfigError(unknown_name("recipe", name, shipped))


def parse_overrides(arguments: Sequence[str], *, flags: Sequence[str] = ()) -> dict[str, Any]:
    """Turn `--training.epochs 3 --seed=1` into a nested mapping; values are read as YAML.

    Args:
        arguments: keys and values.
        flags: options that the command itself knows, offered where a key has no value.

    Raises:
        ConfigError: an argument that is not `--key value`.

    Example:
        >>> parse_overrides(["--training.epochs", "3", "--seed=1"])
        {'training': {'epochs': 3}, 'seed': 1}
    """
    nested: dict[str, Any] = {}
    waiting = list(arguments)
    while waiting:
        key = waiting.pop(0)
        if not key.startswith("--") or len(key) == 2:
            raise ConfigError(
                f"unexpected argument {key!r}; overrides are written --key value, for example --seed 1"
            )
        key, equals, text = key[2:].partition("=")
        if not equals:
            if not waiting or waiting[0].startswith("--"):
                raise ConfigError(_without_value(f"--{key}", flags))
            text = waiting.pop(0)
        _set(nested, key.split("."), parse_yaml(text, f"--{key}"))
    return nested


def _without_value(key: str, flags: Sequence[str]) -> str:
    best = nearest(key, [*(f"--{path}" for path in _paths(Recipe)), *flags], limit=1)
    if best and best[0] in flags:
        return unknown_name("option", key, flags)
    return f"{key} needs a value, for example {key} 1"


def _set(nested: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = nested.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--{'.'.join(keys)} contradicts --{key}")
        nested = inner
    nested[keys[-1]] = value


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, mapping by mapping.

    A mapping that names another `kind` or `name` replaces the old one: its options belong to something else.

    Example:
        >>> merge({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
        {'a': {'x': 1, 'y': 3}}
        >>> merge({"m": {"name": "paced", "beta": 0.7}}, {"m": {"name": "supervised"}})
        {'m': {'name': 'supervised'}}
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping) and not _other_thing(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def _other_thing(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return any(tag in new and new[tag] != old.get(tag) for tag in ("kind", "name"))


def read_recipe_mapping(name: str) -> dict[str, Any]:
    """The raw mapping of a recipe file.

    Raises:
        ConfigError: the file is missing, unreadable or not a mapping.
    """
    path = find_recipe(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read recipe {path}: {error}") from error
    mapping = parse_yaml(text, str(path))
    if not isinstance(mapping, dict):
        raise ConfigError(f"recipe {path} must be a mapping with the keys {', '.join(Recipe.model_fields)}")
    return mapping


def load_recipe(name: str, overrides: Mapping[str, Any] | None = None, *, row: str | None = None) -> Recipe:
    """Read, override and check a recipe.

    Args:
        name: a YAML file or the name of a shipped recipe.
        overrides: nested values laid over the file's.
        row: a row of the recipe's study, laid over the file before `overrides`.

    Raises:
        ConfigError: unknown key (with the nearest valid one), wrong type, or value out of range.
    """
    mapping = read_recipe_mapping(name)
    if row is not None:
        rows = _rows_of(mapping)
        if row not in rows:
            raise ConfigError(unknown_name("row", row, rows) if rows else f"recipe {name} has no study rows")
        mapping = merge(mapping, rows[row] or {})
    return check_recipe(_laid_over(mapping, overrides or {}))


def _laid_over(mapping: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with the overrides, and without the study rows that they set to null.

    Raises:
        ConfigError: there is no such row.
    """
    merged, changed = merge(mapping, overrides), _rows_of(overrides)
    left_out = [name for name, changes in changed.items() if changes is None]
    if not left_out:
        return merged
    rows = _rows_of(mapping)
    for name in left_out:
        if name not in rows:
            raise ConfigError("study.rows: " + unknown_name("row", name, rows))
    kept = {name: row for name, row in _rows_of(merged).items() if name not in left_out}
    return merged | {"study": merged["study"] | {"rows": kept}}


def _rows_of(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """The study rows of a mapping that has not been checked yet; empty where it has none."""
    study = mapping.get("study")
    rows = study.get("rows") if isinstance(study, Mapping) else None
    return rows if isinstance(rows, Mapping) else {}


def check_recipe(mapping: Mapping[str, Any]) -> Recipe:
    """Turn a mapping into a `Recipe`; the method's options and the model's name are checked here too.

    Raises:
        ConfigError: the first thing wrong, in one line.
    """
    recipe = check_section(Recipe, mapping)
    check_data(recipe)
    check_attacks(recipe)
    from meddistill.methods import METHODS, create_method
    from meddistill.models.names import resolve_name

    if not isinstance(recipe.method.get("name"), str):
        raise ConfigError("method.name: this key is required, for example method: {name: supervised}")
    method = create_method(**recipe.method)
    if recipe.data.patch is not None and method.needs_teacher and recipe.teacher.mode != "live":
        raise ConfigError(
            f"teacher.mode {recipe.teacher.mode} stores logits of whole images, but data.patch cuts new "
            "crops in every epoch; give --teacher.mode live"
        )
    answers_once = resolve_name(recipe.model.name).library == "timm"
    of_images = [name for name, kind in METHODS.items() if getattr(kind, "answers_images", False)]
    check_answers(recipe, answers_once=answers_once, methods=of_images)
    _check_supervision(recipe)
    _check_teacher(recipe.teacher)
    if recipe.fine_tune is not None and None not in (recipe.fine_tune.path, recipe.fine_tune.row):
        raise ConfigError("fine_tune: give path, or in a study row (and not both)")
    _check_study(recipe)
    return recipe


def check_section(kind: type[S], mapping: Mapping[str, Any]) -> S:
    """Check one section of a recipe.

    Raises:
        ConfigError: the first thing wrong, in one line.
    """
    try:
        return kind.model_validate(dict(mapping))
    except ValidationError as error:
        raise ConfigError(_one_line(kind, error.errors()[0])) from error


def _check_study(recipe: Recipe) -> None:
    if recipe.study is not None and recipe.study.baseline not in recipe.study.rows:
        raise ConfigError("study.baseline: " + unknown_name("row", recipe.study.baseline, recipe.study.rows))


def _check_supervision(recipe: Recipe) -> None:
    """Refuse weak labels that cannot be made, and more full cases in a batch than it has."""
    supervision, training = recipe.data.supervision, recipe.training
    if supervision is None:
        return
    from meddistill.data.mixed_sampler import check_shares
    from meddistill.data.weak import create_weak_label

    if not isinstance(supervision.weak.get("kind"), str):
        raise ConfigError("data.supervision.weak.kind: this key is required, for example weak: {kind: disc}")
    create_weak_label(**supervision.weak)
    if supervision.full_per_batch > training.batch_size:
        raise ConfigError(
            f"data.supervision.full_per_batch is {supervision.full_per_batch}, but a batch has "
            f"{training.batch_size} cases; give 1 to that many, or raise training.batch_size"
        )
    check_shares(
        batch_size=training.batch_size,
        full_per_batch=supervision.full_per_batch,
        processes=training.devices * training.nodes,
    )


def _check_teacher(teacher: TeacherConfig) -> None:
    """Refuse an ensemble that also says what a lone teacher says, and members without a source."""
    if teacher.members is None:
        if teacher.weights != "uniform" or teacher.combine != "probabilities":
            raise ConfigError(
                "teacher.weights and teacher.combine belong to an ensemble: give teacher.members"
            )
        return
    for key in TeacherSourceConfig.model_fields:
        if getattr(teacher, key) is not None:
            raise ConfigError(
                f"teacher.{key}: leave it out where teacher.members are given; each has its own"
            )
    for number, member in enumerate(teacher.members):
        if (member.path is None) == (member.row is None):
            raise ConfigError(f"teacher.members.{number}: give path, or in a study row (and not both)")


def recipe_to_yaml(recipe: Recipe) -> str:
    """The complete recipe, defaults included, as YAML."""
    return yaml.dump(recipe.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _one_line(kind: type[BaseModel], error: ErrorDetails) -> str:
    where = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        readable = ".".join(_without_tags(where))
        fields = _fields_at(kind, where[:-1])
        elsewhere = [path for path in _paths(kind) if path.rpartition(".")[2] == where[-1]]
        if elsewhere and not nearest(where[-1], fields):
            return f"{readable}: unknown key {where[-1]!r}; did you mean {' or '.join(map(repr, elsewhere))}?"
        return f"{readable}: " + unknown_name("key", where[-1], fields)
    readable = ".".join(_without_tags(where)) or "recipe"
    if error["type"] == "missing":
        return f"{readable}: this key is required"
    given = error["input"]
    shown = "" if isinstance(given, dict) else f", got {given!r}"
    return f"{readable}: {error['msg'][0].lower()}{error['msg'][1:]}{shown}"


_TAGS = tuple(
    tag
    for sections in (SourceConfig, AttackConfig)
    for section in get_args(get_args(sections)[0])
    for tag in get_args(section.model_fields["kind"].annotation)
)
_ALTERNATIVE = re.compile(r"(literal|list|int|float|constrained-\w+)(\[|$)")
"""How pydantic names one of several types that a key may have."""


def _without_tags(where: list[str]) -> list[str]:
    return [
        part
        for i, part in enumerate(where)
        if not (part in _TAGS and (where[i - 1 : i] == ["source"] or where[i - 2 : i - 1] == ["attacks"]))
        and part != "[key]"
        and not _ALTERNATIVE.match(part)
    ]


def _fields_at(model: type[BaseModel], where: Sequence[str]) -> list[str]:
    """Names of the fields of the section that the path `where` leads to."""
    where = [part for part in where if not part.isdigit()]
    if not where:
        return list(model.model_fields)
    if where[0] not in model.model_fields:
        return []
    annotation = model.model_fields[where[0]].annotation
    candidates = _models_in(annotation)
    rest = where[2:] if get_origin(annotation) is dict else where[1:]
    if rest and rest[0] in _TAGS:
        candidates = [c for c in candidates if rest[0] in get_args(c.model_fields["kind"].annotation)]
        rest = rest[1:]
    return _fields_at(candidates[0], rest) if candidates else []


def _paths(model: type[BaseModel]) -> Iterator[str]:
    """Dotted names of all keys of a section, those of its inner sections with fixed names included."""
    for name, info in model.model_fields.items():
        yield name
        if get_origin(info.annotation) is dict:
            continue
        inner = dict.fromkeys(path for part in _models_in(info.annotation) for path in _paths(part))
        yield from (f"{name}.{path}" for path in inner)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
