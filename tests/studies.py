"""Studies that train in the process of the test."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from meddistill.cli import run


class TrainsHere:
    """Stands for the process that a study starts; trains in this one, which has everything loaded."""

    def __init__(self, command: list[str], **_: object) -> None:
        assert command[:3] == [sys.executable, "-m", "meddistill"]
        self.code = run(command[3:])

    def wait(self, timeout: float) -> int:
        return self.code


def train_here(patch: pytest.MonkeyPatch) -> None:
    """Let studies, and nobody else, train in this process."""
    stand_in = SimpleNamespace(**{**vars(subprocess), "Popen": TrainsHere})
    patch.setattr("meddistill.training.study.subprocess", stand_in)
