"""How one or two networks are arranged round what a method trains."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from meddistill.errors import ConfigError, unknown_name
from meddistill.models.averaged import AveragedStudent
from meddistill.models.dual_decoder import dual_decoder
from meddistill.models.twin import Twin

FORMS: dict[str, Callable[[Callable[[], nn.Module]], nn.Module]] = {
    "single": lambda make: make(),
    "dual_decoder": lambda make: dual_decoder(make()),
    "mean_teacher": lambda make: AveragedStudent(make()),
    "twin": lambda make: Twin(make(), make()),
}
"""From a function that builds a network with random weights to the arrangement."""


def arrange(form: str, make: Callable[[], nn.Module]) -> nn.Module:
    """The arrangement `form` of networks that `make` builds.

    Raises:
        ConfigError: there is no such form, or the network cannot have it.

    Example:
        >>> type(arrange("twin", lambda: nn.Conv2d(1, 2, 1))).__name__
        'Twin'
    """
    if form not in FORMS:
        raise ConfigError(unknown_name("form", form, FORMS))
    return FORMS[form](make)
