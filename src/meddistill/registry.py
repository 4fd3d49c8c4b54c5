"""Building what a recipe names, with its options, from a table of known kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meddistill.errors import ConfigError, unknown_name


def build(kind: str, name: str, registry: Mapping[str, Callable[..., Any]], options: dict[str, Any]) -> Any:
    """`registry[name](**options)`, with unknown names of entry or option refused.

    Raises:
        ConfigError: the name or an option is unknown; the message offers the nearest ones.
    """
    import inspect

    if name not in registry:
        raise ConfigError(unknown_name(kind, name, registry))
    known = inspect.signature(registry[name]).parameters
    for option in options:
        if option not in known:
            raise ConfigError(unknown_name(f"option of {kind} {name}", option, known))
    return registry[name](**options)
