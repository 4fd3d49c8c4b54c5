"""Which cases form which batch, as a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from meddistill.data.seeding import mixed_seed
from meddistill.errors import ConfigError

Key = tuple[int, int]
"""Epoch and position of a case: all that its augmentation depends on, besides the seed."""


class EpochSampler(Sampler[list[Key]]):
    """A batch sampler that yields lists of `(epoch, index)`.

    The global batch k is `order[k * B : (k + 1) * B]`, and each of the processes takes a contiguous part of
    it, so that together they see what a single process would. The last batch may be smaller; with several
    processes it is filled up from the start of the order until it divides evenly. A last batch of a single
    case joins the one before it when shuffling, because batch normalisation cannot train on one case. There
    is no hidden state: a resumed run that sets the epoch sees the same batches.

    Args:
        num_cases: size of the data set.
        seed: draws the orders.
        shuffle: a new order each epoch, or always 0, 1, 2, ...
        batch_size: B, over all processes.
        rank: number of this process.
        world_size: number of processes; must divide `batch_size`.

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> list(EpochSampler(5, seed=0, shuffle=False, batch_size=2))
        [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(0, 4)]]
    """

    def __init__(
        self,
        num_cases: int,
        *,
        seed: int,
        shuffle: bool,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if num_cases < 1 or batch_size < 1 or not 0 <= rank < world_size:
            raise ConfigError(
                "a sampler needs cases, a positive batch size and a rank below the world size, not "
                f"num_cases={num_cases}, batch_size={batch_size}, rank={rank}, world_size={world_size}"
            )
        if batch_size % world_size:
            raise ConfigError(
                f"batch_size {batch_size} does not divide by {world_size} processes; choose a multiple"
            )
        self.num_cases = num_cases
        self.seed = seed
        self.shuffle = shuffle
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    @property
    def sampler(self) -> EpochSampler:
        """Itself: loops such as Lightning's call `loader.batch_sampler.sampler.set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Move to `epoch` (0-based); takes effect with the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self._starts())

    def __iter__(self) -> Iterator[list[Key]]:
        """One pass over this process's part of every batch."""
        order = self._order()
        starts = self._starts()
        for start, end in zip(starts, [*starts[1:], self.num_cases], strict=True):
            batch = order[start:end]
            batch += [order[k % self.num_cases] for k in range(-len(batch) % self.world_size)]
            part = len(batch) // self.world_size
            mine = batch[self.rank * part : (self.rank + 1) * part]
            yield [(self.epoch, index) for index in mine]

    def _starts(self) -> list[int]:
        """Where each global batch begins in the order."""
        starts = list(range(0, self.num_cases, self.batch_size))
        single = self.shuffle and self.batch_size > 1 and self.num_cases % self.batch_size == 1
        return starts[:-1] if single and len(starts) > 1 else starts

    def _order(self) -> list[int]:
        if not self.shuffle:
            return list(range(self.num_cases))
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.epoch))
        return torch.randperm(self.num_cases, generator=generator).tolist()
