"""Which images of a batch are fully labelled, and which carry a weak label only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from torch import Tensor

from meddistill.methods.base import Batch

Part = Literal["full", "weak", "all"]
"""The fully labelled images of a batch, the weakly labelled ones, or both."""

PARTS_OF: dict[Part, tuple[Part, ...]] = {"full": ("full",), "weak": ("weak",), "all": ("full", "weak")}
"""What each part is made of."""

Index = Tensor | slice


class Rows(NamedTuple):
    """The positions of the fully and of the weakly labelled images in a batch.

    Example:
        >>> Rows(slice(0, 2), slice(2, 5)).of("all")
        slice(None, None, None)
    """

    full: Index
    weak: Index

    def of(self, part: Part) -> Index:
        """The positions of a part."""
        if part == "all":
            return slice(None)
        return self.full if part == "full" else self.weak

    def take(self, values: Tensor, part: Part, *, of: Part = "all") -> Tensor:
        """The rows of `part` among `values`, which hold the rows of `of`; none where it does not hold them.

        Example:
            >>> import torch
            >>> rows, values = Rows(slice(0, 1), slice(1, 3)), torch.tensor([7, 8, 9])
            >>> rows.take(values, "weak"), rows.take(values[1:], "weak", of="weak")
            (tensor([8, 9]), tensor([8, 9]))
        """
        if of in ("all", part):
            return values if of == part else values[self.of(part)]
        raise ValueError(f"the {part} rows are not among the {of} rows")


def rows_of(batch: Batch) -> Rows:
    """The rows of a batch. Without `full` in it every image is fully labelled.

    Raises:
        ValueError: `full` is no mask of the batch.
    """
    if "full_rows" in batch:
        return Rows(batch["full_rows"], batch["weak_rows"])
    if "full" not in batch:
        return Rows(slice(None), slice(0, 0))
    full = batch["full"]
    if full.shape != batch["label"].shape[:1]:
        raise ValueError(f"full {tuple(full.shape)} must hold one truth value for each of the batch's labels")
    return Rows(_index(full), _index(~full))


def with_rows(batch: Batch) -> Batch:
    """The batch with `full_rows` and `weak_rows`, found where it is.

    A loop calls it before the batch goes to an accelerator, so that no step must wait for one to say which
    rows they are. Rows that lie together become a slice, which takes no copy of their features.
    """
    if "full" not in batch:
        return batch
    full, weak = rows_of(batch)
    return {**batch, "full_rows": full, "weak_rows": weak}


def weak_labels(batch: Batch) -> Tensor:
    """The weak label (B, *S) of every image; where the batch has none, the label itself."""
    return batch["weak"] if "weak" in batch else batch["label"]


def union(parts: Iterable[Part]) -> Part:
    """The smallest part that holds all of `parts`.

    Example:
        >>> union(["full", "full"]), union(["full", "weak"])
        ('full', 'all')
    """
    found = set(parts)
    return found.pop() if len(found) == 1 else "all"


def _index(mask: Tensor) -> Index:
    rows = mask.nonzero().squeeze(1)
    if not len(rows):
        return slice(0, 0)
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last + 1 - first == len(rows) else rows
