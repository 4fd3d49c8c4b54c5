"""The templates of the pages and the values they know."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from meddistill.report import numbers

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("meddistill", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("number", "score", "interval", "compact", "duration", "magnitude"):
        environment.filters[name] = getattr(numbers, name)
    return environment


def render(template: str, **context: Any) -> str:
    """The page that `template` makes of `context`; every value is escaped unless it is already markup.

    Args:
        template: file name of a template of this package, for example `run.html`.
        **context: the names that the template uses; a name it needs and does not get is an error.
    """
    return _environment().get_template(template).render(**context)
