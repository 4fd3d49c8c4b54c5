"""The errors that a user can mend.

Each message is one line that says what is wrong and what to do. The command line prints it and leaves with
exit code 2; every other exception is a defect of meddistill and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MedDistillError(Exception):
    """Base of all errors whose message is meant for the user."""


class DataError(MedDistillError, ValueError):
    """Images, labels, split lists or folders that cannot be used as they are."""


class ConfigError(MedDistillError, ValueError):
    """A recipe, an option or an argument with an unknown name, a wrong type or a value out of range."""


class TeacherError(MedDistillError, ValueError):
    """A teacher that cannot be loaded, does not fit the task, or scores below the floor."""


class RunError(MedDistillError, RuntimeError):
    """A run folder that cannot be written, read or resumed, or a training that cannot go on."""


def nearest(name: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """The known names most like `name`, best first; those clearly less like it than the best are left out.

    Example:
        >>> nearest("lerning_rate", ["learning_rate", "epochs"])
        ['learning_rate']
        >>> nearest("unet", ["Unet", "UNet", "fpn"])
        ['Unet', 'UNet']
    """
    likeness = {
        candidate: difflib.SequenceMatcher(None, name.lower(), candidate.lower()).ratio()
        for candidate in known
    }
    floor = max(0.5, max(likeness.values(), default=0.0) - 0.15)
    ranked = sorted(likeness, key=lambda candidate: -likeness[candidate])
    return [candidate for candidate in ranked if likeness[candidate] >= floor][:limit]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """One line that refuses `name` and offers the nearest known names (or all, when few).

    Example:
        >>> unknown_name("model", "unett", ["unet", "linknet"])
        "unknown model 'unett'; did you mean 'unet'?"
        >>> unknown_name("mode", "x", ["tpl", "cpl"])
        "unknown mode 'x'; known: cpl, tpl"
        >>> unknown_name("option", "x", [])
        "unknown option 'x'; there are none"
    """
    options = sorted(known)
    if not options:
        return f"unknown {kind} {name!r}; there are none"
    close = nearest(name, options)
    if close:
        return f"unknown {kind} {name!r}; did you mean {' or '.join(repr(c) for c in close)}?"
    return f"unknown {kind} {name!r}; known: {', '.join(options)}"
