"""Where predictions go: never over a label, and never over something that is there unless that is wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from meddistill.errors import ConfigError, DataError, RunError

_MASK = re.compile(r"_mask(_\d+)?$")
"""End of the names of label files, as `FolderSource` reads them."""


def is_mask(name: str) -> bool:
    """True when a name without its ending is that of a label file.

    Example:
        >>> is_mask("a_mask"), is_mask("a_mask_1"), is_mask("a")
        (True, True, False)
    """
    return _MASK.search(name) is not None


def plan_targets(
    inputs: Iterable[Path], folder: Path, output: Path, name: Callable[[Path], str], *, overwrite: bool
) -> dict[Path, Path]:
    """The output file of every input, in the same subfolders below `output`; nothing is written.

    Args:
        inputs: files or folders, at or below `folder`.
        folder: where they are.
        output: where outputs go.
        name: from an input to the name of its output.
        overwrite: whether an output may be there already.

    Raises:
        DataError: two inputs have the same output.
        ConfigError: an output would lie among the inputs.
        RunError: an output is there already and `overwrite` is not given.

    Example:
        >>> folder = Path("a")
        >>> plan_targets([folder / "b" / "c.png"], folder, Path("out"), lambda path: "d.png", overwrite=False)
        {PosixPath('a/b/c.png'): PosixPath('out/b/d.png')}
    """
    targets: dict[Path, Path] = {}
    owners: dict[Path, Path] = {}
    for one in inputs:
        below = Path() if one == folder else one.relative_to(folder).parent
        target = output / below / name(one)
        if target in owners:
            raise DataError(f"{owners[target]} and {one} would both become {target}; rename one of them")
        targets[one], owners[target] = target, one
    _check_free(targets, overwrite=overwrite)
    return targets


def _check_free(targets: Mapping[Path, Path], *, overwrite: bool) -> None:
    folders = {one.parent.resolve() for one in targets}
    folders |= {one.resolve() for one in targets if one.is_dir()}
    for target in targets.values():
        if target.parent.resolve() in folders:
            raise ConfigError(f"{target} would lie among the images; choose another output folder")
        if target.exists() and not overwrite:
            raise RunError(f"{target} is there already; choose another output folder or overwrite")
