"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

TUNE_SECONDS = 60
"""How long `--auto-tune` tries when no number follows it."""

TAKES_KEYS = {"allow_extra_args": True, "ignore_unknown_options": True}

RecipeArgument = Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped recipe.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]

BranchOption = Annotated[
    str | None, typer.Option(help="Which branch of a student that has several.  [default: the first]")
]

CalibratedOption = Annotated[
    bool, typer.Option("--calibrated", help="Use the calibration last fitted by `evaluate --calibrate`.")
]

OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder to create.")]
RunArgument = Annotated[Path, typer.Argument(help="A run folder.")]
RowOption = Annotated[str | None, typer.Option(help="A row of the recipe's study.")]
SplitOption = Annotated[
    str,
    typer.Option(help="A split, or a set among the recipe's tests or attacks, for example test or pgd-2."),
]
CalibrateOption = Annotated[
    str | None,
    typer.Option(
        help="Calibrate the student after the fact on held-out labels: none, temperature, class or local.",
    ),
]
UncertaintyOption = Annotated[
    str | None,
    typer.Option(
        help="Say what the student's uncertainty is worth: entropy, mc_dropout, tta or ensemble.  "
        "[default: entropy with --calibrate]",
    ),
]
MembersOption = Annotated[
    list[Path] | None, typer.Option(help="The other runs of an ensemble, after RUN, one after the other.")
]
FloorOption = Annotated[
    float | None,
    typer.Option(min=0.0, max=1.0, help="Refuse a teacher that scores less; short for --teacher.floor."),
]
StoresOption = Annotated[
    Path | None,
    typer.Option(help="Folder in which stored teacher logits are kept.  [default: beside the run]"),
]
TuneOption = Annotated[
    float | None,
    typer.Option(
        min=1,
        metavar="[SECONDS]",
        help=f"First try what trains faster here, for so many seconds ({TUNE_SECONDS} without a number).",
    ),
]


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """The arguments, with `TUNE_SECONDS` for an `--auto-tune` that no number follows, and lists taken apart.

    Example:
        >>> spelled_out(["train", "r.yaml", "--auto-tune", "-o", "run"])
        ['train', 'r.yaml', '--auto-tune=60', '-o', 'run']
        >>> spelled_out(["robustness", "run", "--eps", "1", "2"])
        ['robustness', 'run', '--eps', '1', '--eps', '2']
        >>> spelled_out(["robustness", "--corruption", "mr", "fog", "-o", "no/run"])
        ['robustness', '--corruption', 'mr', '--corruption', 'fog', '-o', 'no/run']
        >>> spelled_out(["evaluate", "run", "--members", "a", "b", "--again"])
        ['evaluate', 'run', '--members', 'a', '--members', 'b', '--again']
    """
    arguments = _taken_apart(arguments)
    following = [*arguments[1:], ""][: len(arguments)]
    bare = [
        word == "--auto-tune" and not _is_number(after)
        for word, after in zip(arguments, following, strict=True)
    ]
    return [f"{word}={TUNE_SECONDS}" if alone else word for word, alone in zip(arguments, bare, strict=True)]


def _taken_apart(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the option of a list written before each of its values."""
    belongs: dict[str, Callable[[str], bool]] = {
        "--attack": ("fgsm", "pgd").__contains__,
        "--eps": _is_number,
        "--corruption": _is_name,
        "--severity": str.isdigit,
        "--members": lambda word: not word.startswith("-"),
    }
    found, option = [""], ""
    for word in arguments:
        if option and found[-1] != option and belongs[option](word):
            found.append(option)
        elif word.startswith("-"):
            option = word if word in belongs else ""
        found.append(word)
    return found[1:]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _is_name(word: str) -> bool:
    """Whether a word can be the name of a corruption, and not a folder that follows."""
    plain = word.replace("-", "").replace("_", "")
    return word[:1].isalpha() and plain.isalnum() and not Path(word).exists()
