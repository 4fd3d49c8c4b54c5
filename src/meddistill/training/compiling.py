"""torch.compile for the networks of a recipe, in place, and its failures in one line."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from meddistill.errors import ConfigError
from meddistill.models import Compound
from meddistill.teachers import Teacher

OPTIONS: dict[str, Any] = {"dynamic": False}
"""Arguments of torch.compile. One graph for each shape: a batch is computed alike whatever came before it."""

SHAPES = 64
"""Graphs that may be made of one piece of code; past them it runs as it is. Last batches need their own."""


def compile_networks(student: nn.Module | None, teacher: nn.Module | None) -> None:
    """Hand the networks that are given to torch.compile, in place, so that no weight changes its name.

    The compiling happens when a network first sees a shape. Forward hooks that are set after this call are
    ignored.

    Args:
        student: network to compile, or None.
        teacher: a `Teacher`, or a module that holds some, whose networks to compile; or None.
    """
    networks = [] if student is None else [student]
    if teacher is not None:
        networks += [part.network for part in teacher.modules() if isinstance(part, Teacher)]
    if networks:
        import torch._dynamo

        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        torch._dynamo.config.recompile_limit = max(SHAPES, torch._dynamo.config.recompile_limit)
    for network in networks:
        for part in network.parts() if isinstance(network, Compound) else [network]:
            part.compile(**OPTIONS)


@contextlib.contextmanager
def compile_errors() -> Iterator[None]:
    """Turn a failure to compile into one line that says which keys to change.

    Raises:
        ConfigError: torch.compile gave up.
    """
    try:
        yield
    except RuntimeError as error:
        dynamo = sys.modules.get("torch._dynamo.exc")
        if dynamo is None or not isinstance(error, dynamo.TorchDynamoException):
            raise
        cause = getattr(error, "inner_exception", error)
        raise ConfigError(
            f"torch.compile failed ({str(cause).splitlines()[0]}); "
            "set training.compile and teacher.compile to false and start again in a new folder"
        ) from error


def check_compiler(device: torch.device) -> None:
    """Compile next to nothing, so that a missing compiler is found before a run is begun.

    Raises:
        ConfigError: torch.compile gave up.
    """
    with compile_errors():
        torch.compile(torch.neg, **OPTIONS)(torch.ones(1, device=device))
