"""What every page of a benchmark says of the machine, and how it is saved."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from meddistill.training.hardware import describe, version_of


def machine(script: str, *packages: str) -> dict[str, Any]:
    """The hardware, versions (also of further packages) and the command of this run of a script."""
    hardware = describe()
    hardware["command"] = shlex.join(["python", f"benchmarks/{script}", *sys.argv[1:]])
    for name in packages:
        hardware["versions"][name] = version_of(name)
    return hardware


def machine_lines(hardware: Mapping[str, Any]) -> list[str]:
    """The lines of a page on hardware, versions and command."""
    versions = ", ".join(f"{name} {version}" for name, version in hardware["versions"].items())
    return [
        f"- Machine: {hardware['processor']}, {hardware['cores']} cores, {hardware['threads']} threads; "
        f"{hardware['platform']}.",
        f"- Versions: Python {hardware['python']}, {versions}.",
        f"- Command: `{hardware['command']}`",
    ]


def pairs_text(rows: Iterable[tuple[str, str]]) -> str:
    """Names and texts as a table for a terminal."""
    return "\n".join(f"{name:<38}{text}" for name, text in rows)


def add_numbers(parser: argparse.ArgumentParser, default: object, names: Iterable[str]) -> None:
    """An option for each of some whole numbers of the settings `default`."""
    for name in names:
        value = getattr(default, name)
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """The option that says how many threads torch may use."""
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: torch's own")


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """The options that say where to save the numbers and the page."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw numbers")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as a page")


def save(given: argparse.Namespace, result: Any, page: str) -> None:
    """Write the files that were asked for."""
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if given.markdown:
        given.markdown.write_text(page, encoding="utf-8")
