"""A network that a file holds as a program, not as weights for a network that we build."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddistill.errors import TeacherError
from meddistill.models.adapter import first_output

Shape = tuple[int | None, ...]
"""(B, C, *S) of an input or output; None where any number will do."""


def read_program(path: Path) -> bytes:
    """The content of a file, read once: what is checked is what is loaded.

    Raises:
        TeacherError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise TeacherError(f"cannot read {path}: {error.strerror or error}") from error


class FileProgram(nn.Module, ABC):
    """Runs the program of a file on images of any number, in pieces where it takes a fixed number at a time.

    Args:
        path: the file, for messages.
        contents: what was read of it (and of files beside it that belong to it), for the fingerprint.
        shape: of the image that the program takes; None when the file does not say.

    Attributes:
        file_digest: SHA-256 of `contents`.
    """

    def __init__(self, path: Path, contents: Sequence[bytes], shape: Shape | None = None) -> None:
        super().__init__()
        digest = hashlib.sha256()
        for content in contents:
            digest.update(len(content).to_bytes(8, "little"))
            digest.update(content)
        self.file_digest = digest.hexdigest()
        self.path = path
        self.shape = shape

    @abstractmethod
    def run(self, image: Tensor) -> Any:
        """The program's outputs for an image of the shape that it takes."""

    @property
    def in_channels(self) -> int | None:
        """Channels that the program takes, where the file says so."""
        return self.shape[1] if self.shape else None

    @property
    def size(self) -> tuple[int, ...] | None:
        """The only size that the program takes, or None."""
        fixed = tuple(n for n in (self.shape or ())[2:] if n is not None)
        return fixed if self.shape and len(fixed) == len(self.shape) - 2 else None

    def forward(self, image: Tensor) -> Tensor:
        """The main output of the program, see `meddistill.models.adapter.first_output`.

        Raises:
            TeacherError: the program cannot take the image.
        """
        if self.shape and image.ndim != len(self.shape):
            raise TeacherError(
                f"{self.path} takes images of {len(self.shape)} axes (batch, channel, space), not of shape "
                f"{tuple(image.shape)}"
            )
        batch = self.shape[0] if self.shape else None
        answers = [self._answer(piece, batch) for piece in torch.split(image, batch or len(image))]
        return answers[0] if len(answers) == 1 else torch.cat(answers)

    def _answer(self, piece: Tensor, batch: int | None) -> Tensor:
        missing = (batch or len(piece)) - len(piece)
        filled = torch.cat([piece, piece[-1:].expand(missing, *piece.shape[1:])]) if missing else piece
        try:
            output = self.run(filled)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise TeacherError(
                f"{self.path} cannot take images of shape {tuple(filled.shape)}: {_last_line(error)}; give "
                f"the in_channels and size that it was made for"
            ) from error
        return first_output(output, piece.ndim - 2)[: len(piece)]


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("RuntimeError: ") if lines else type(error).__name__
