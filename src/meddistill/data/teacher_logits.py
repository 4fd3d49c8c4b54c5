"""How stored logits of a teacher join a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from meddistill.data.sampler import Key


class TeacherLogits(Protocol):
    """Logits of a teacher for the keys of a batch.

    `follow_image` says whether they belong to the image as it is and must go through the same geometric
    change; otherwise they belong to the view that `seed` draws.
    """

    follow_image: bool

    def seed(self, key: Key) -> int | None:
        """The seed of the change that the image of `key` must go through; None leaves it to the data set."""
        ...

    def read(self, keys: Sequence[Key]) -> Tensor:
        """Logits (B, K, *S) float32, or (B, M, K, *S) of the members of an ensemble."""
        ...
