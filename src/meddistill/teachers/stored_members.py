"""Reading the stores of an ensemble's members side by side, or joined as the ensemble joins them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from meddistill.data.sampler import Key
from meddistill.data.teacher_logits import TeacherLogits
from meddistill.teachers.base import UNKNOWN


class StackedLogits:
    """The logits of each member of an ensemble, from a store of each.

    Args:
        parts: reads the logits of one member each.
        known: for each member and class, whether it knows the class; the others get `UNKNOWN`.
    """

    def __init__(self, parts: Sequence[TeacherLogits], known: Sequence[Sequence[bool]]) -> None:
        self.parts = tuple(parts)
        self.follow_image = self.parts[0].follow_image
        self._unknown = ~torch.tensor(known)
        self._complete = not bool(self._unknown.any())

    def seed(self, key: Key) -> int | None:
        """That of any member: their stores have the same views."""
        return self.parts[0].seed(key)

    def read(self, keys: Sequence[Key]) -> Tensor:
        """Logits (B, M, K, *S) float32 of the cases at `keys`."""
        found = torch.stack([part.read(keys) for part in self.parts], dim=1)
        if self._complete:
            return found
        shape = (1, *self._unknown.shape, *(1,) * (found.ndim - 3))
        return found.masked_fill_(self._unknown.view(shape), UNKNOWN)


class JoinedLogits:
    """The logits of several members, joined when they are read.

    Args:
        members: reads those of each.
        join: see `BaseTeacher.joiner`.
    """

    def __init__(self, members: StackedLogits, join: Callable[[Tensor], Tensor]) -> None:
        self.members = members
        self.follow_image = members.follow_image
        self._join = join

    def seed(self, key: Key) -> int | None:
        """That of the members."""
        return self.members.seed(key)

    def read(self, keys: Sequence[Key]) -> Tensor:
        """Logits (B, K, *S) float32 of the cases at `keys`."""
        return self._join(self.members.read(keys))
