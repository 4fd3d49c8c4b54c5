"""Write the pages of docs/ that repeat what the code says: `docs/cli.md` and `docs/recipes.md`."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from meddistill.cli import app
from meddistill.config.load import shipped_recipes
from meddistill.config.schema import Recipe
from meddistill.config.section import Section

_NOTE = "<!-- Written by `make docs`; change the code, not this page. -->"


def cli_page() -> str:
    """Every command with its help, arguments and options."""
    lines = ["# Command line", "", _NOTE, ""]
    for name, command in _commands(typer.main.get_command(app), "meddistill"):
        lines += [f"## {name}", "", inspect.cleandoc(command.help or ""), ""]
        rows = [row for parameter in command.params if (row := _parameter(parameter))]
        if rows:
            lines += ["| argument or option | meaning | default |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child, inner in children.items():
        yield from _commands(inner, f"{name} {child}")


def _parameter(parameter: Any) -> str:
    if parameter.name == "help":
        return ""
    written = ", ".join(f"`{option}`" for option in parameter.opts)
    if parameter.param_type_name == "argument":
        written = f"`{parameter.name.upper()}`"
    default = parameter.default
    shown = f"`{default}`" if isinstance(default, str | int | Path) and default not in (False, "") else ""
    return f"| {written} | {getattr(parameter, 'help', None) or ''} | {shown} |"


def recipes_page() -> str:
    """Every key of a recipe with its type and default, section by section, and the shipped recipes."""
    lines = [
        "# Recipes",
        "",
        _NOTE,
        "",
        "A recipe is plain YAML; unknown keys and wrong types are refused.",
        "",
    ]
    lines += ["| shipped recipe | what it is |", "|---|---|"]
    for name, file in shipped_recipes().items():
        lines.append(f"| `{name}` | {file.read_text(encoding='utf-8').splitlines()[0].removeprefix('# ')} |")
    for where, section in _sections(Recipe, ""):
        lines += ["", f"## {where or 'top level'}", "", inspect.cleandoc(section.__doc__ or ""), ""]
        lines += ["| key | type | default |", "|---|---|---|"]
        lines += [_key(name, field) for name, field in section.model_fields.items()]
    return "\n".join([*lines, ""])


def _sections(model: type[BaseModel], where: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """A section and those in it; those of a further test set are described as parts of `data`."""
    yield where, model
    for name, field in model.model_fields.items() if where != "tests.NAME" else ():
        inner = list(_models(field.annotation))
        for section in inner:
            kind = section.model_fields["kind"].annotation if len(inner) > 1 else None
            place = f"{where}.{name}" if where else name
            place += ".NAME" if get_origin(field.annotation) is dict else ""
            yield from _sections(section, f"{place} ({get_args(kind)[0]})" if kind else place)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _key(name: str, field: FieldInfo) -> str:
    default = (
        "required" if field.is_required() else f"`{_plain(field.get_default(call_default_factory=True))}`"
    )
    return f"| `{name}` | {_type(field)} | {default} |"


def _plain(value: Any) -> str:
    return "the section's defaults" if isinstance(value, BaseModel) else json.dumps(value)


def _type(field: FieldInfo) -> str:
    if list(_models(field.annotation)):
        if get_origin(field.annotation) is dict:
            return "mapping from a name to a section, see below"
        lists = any(get_origin(part) is list for part in (field.annotation, *get_args(field.annotation)))
        return ("list of sections" if lists else "section") + ", see below"
    return _text(field.annotation) + _bounds(field.metadata)


def _text(annotation: Any) -> str:
    """A type in words: `list of number > 0`, `one of adam, sgd`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = parts[1]
        return _text(parts[0]) + _bounds(inner.metadata if isinstance(inner, FieldInfo) else parts[1:])
    if origin is Literal:
        return "one of " + ", ".join(f"`{part}`" for part in parts) if len(parts) > 1 else f"`{parts[0]}`"
    if origin in (Union, types.UnionType):
        return " or ".join(_text(part) for part in parts)
    if origin is list:
        return f"list of ({_text(parts[0])})"
    if origin is dict:
        return f"mapping from {_text(parts[0])} to {_text(parts[1])}"
    return _WORDS[annotation]


_WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "null",
    Any: "value",
}
_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "min_length": "length ≥", "max_length": "length ≤"}


def _bounds(metadata: Iterable[Any]) -> str:
    found = [f"{_SIGNS[name]} {value:g}" for bound in metadata for name, value in _limits(bound).items()]
    return " " + ", ".join(found) if found else ""


def _limits(bound: Any) -> dict[str, Any]:
    """The named limits that an annotation carries."""
    return {name: getattr(bound, name) for name in _SIGNS if getattr(bound, name, None) is not None}


PAGES = {"cli.md": cli_page, "recipes.md": recipes_page}

if __name__ == "__main__":
    for page, make in PAGES.items():
        Path(__file__).with_name(page).write_text(make(), encoding="utf-8")
        print(f"docs/{page}")
