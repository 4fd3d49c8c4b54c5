"""Checking the options of a network against the signature of its class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from meddistill.errors import ConfigError, unknown_name


def optional_parameters(build: Callable[..., Any], *, without: Collection[str] = ()) -> list[str]:
    """Names of the arguments that `build` takes, less those in `without`.

    Example:
        >>> optional_parameters(lambda size, depth=3, **rest: None, without=["size"])
        ['depth']
    """
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(build).parameters.values()
    return [p.name for p in parameters if p.kind in named and p.name not in without]


def check_options(model: str, options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse options that `model` does not have.

    Raises:
        ConfigError: an unknown option, with the nearest known ones.

    Example:
        >>> check_options("pcd/unet", {"widht": 32}, ["width"])
        Traceback (most recent call last):
        meddistill.errors.ConfigError: unknown option of pcd/unet 'widht'; did you mean 'width'?
    """
    known = list(known)
    for option in options:
        if option not in known:
            raise ConfigError(unknown_name(f"option of {model}", option, known))


def as_tuples(value: Any) -> Any:
    """`value` with every list turned into a tuple, so that options from JSON or YAML equal those in code.

    Example:
        >>> as_tuples({"norm": ["GROUP", {"num_groups": 4}], "strides": [[2, 2], [2, 1]]})
        {'norm': ('GROUP', {'num_groups': 4}), 'strides': ((2, 2), (2, 1))}
    """
    if isinstance(value, dict):
        return {key: as_tuples(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(as_tuples(item) for item in value)
    return value
