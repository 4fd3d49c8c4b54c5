"""Batches that mix fully and weakly labelled cases in a set ratio, without end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from meddistill.data.sampler import Key
from meddistill.data.seeding import mixed_seed
from meddistill.errors import ConfigError


class MixedSampler(Sampler[list[Key]]):
    """A batch sampler that yields lists of `(pass, index)`: fully labelled cases, then weakly labelled ones.

    Each pool is an endless stream: one pass over the pool in a drawn order after another, so that no case
    comes again before all others of its pool came. Step s of epoch e takes the next cases of both streams
    after those of the e * steps + s steps before it. That position alone decides, so a resumed run that sets
    the epoch sees the same batches. The first number of a key is the pass, not the epoch: a case that comes
    several times in an epoch is changed by another augmentation each time.

    Of several processes each takes its part of the fully and of the weakly labelled cases of a batch, so that
    together they see what a single process would.

    Args:
        full: positions of the fully labelled cases in the data set.
        weak: positions of the others; may be empty when they are never drawn.
        seed: draws the orders.
        batch_size: cases in a step, over all processes.
        full_per_batch: how many of them are fully labelled, 1 to `batch_size`.
        steps: steps in an epoch; None for as many as show each weak case once (each full case, when weak ones
            are never drawn).
        rank: number of this process.
        world_size: number of processes; must divide the number of full and of weak cases in a batch.

    Raises:
        ConfigError: an argument is out of range, or a pool that is drawn from is empty.

    Example:
        >>> sampler = MixedSampler([0, 1], [2, 3, 4], seed=0, batch_size=2, full_per_batch=1)
        >>> [[index for _, index in batch] for batch in sampler]
        [[0, 2], [1, 4], [1, 3]]
    """

    def __init__(
        self,
        full: Sequence[int],
        weak: Sequence[int],
        *,
        seed: int,
        batch_size: int,
        full_per_batch: int,
        steps: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        few_steps = steps is not None and steps < 1
        if not 1 <= full_per_batch <= batch_size or not 0 <= rank < world_size or few_steps:
            raise ConfigError(
                "a mixed sampler needs 1 to batch_size full cases in a batch, a rank below the world size "
                f"and at least 1 step, not full_per_batch={full_per_batch}, batch_size={batch_size}, "
                f"rank={rank}, world_size={world_size}, steps={steps}"
            )
        self.shares = (full_per_batch, batch_size - full_per_batch)
        self.pools = (tuple(full), tuple(weak))
        check_pools(*map(len, self.pools), batch_size=batch_size, full_per_batch=full_per_batch)
        check_shares(batch_size=batch_size, full_per_batch=full_per_batch, processes=world_size)
        drawn = 1 if self.shares[1] else 0
        self.steps = steps or math.ceil(len(self.pools[drawn]) / self.shares[drawn])
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    @property
    def sampler(self) -> MixedSampler:
        """Itself: loops such as Lightning's call `loader.batch_sampler.sampler.set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Move to `epoch` (0-based); takes effect with the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Steps in an epoch."""
        return self.steps

    def __iter__(self) -> Iterator[list[Key]]:
        """This process's part of every batch of the epoch."""
        streams = [_Stream(pool, mixed_seed(self.seed, kind)) for kind, pool in enumerate(self.pools)]
        for step in range(self.epoch * self.steps, (self.epoch + 1) * self.steps):
            yield [
                stream[position]
                for stream, share in zip(streams, self.shares, strict=True)
                for position in self._mine(step, share)
            ]

    def _mine(self, step: int, share: int) -> range:
        """Positions in a stream of which a step takes `share`: those for this process."""
        part = share // self.world_size
        start = step * share + self.rank * part
        return range(start, start + part)


class _Stream:
    """A pool, pass after pass, each in its own drawn order; any position can be asked for."""

    def __init__(self, pool: Sequence[int], seed: int) -> None:
        self._pool = pool
        self._seed = seed
        self._orders: dict[int, list[int]] = {}

    def __getitem__(self, position: int) -> Key:
        number, place = divmod(position, len(self._pool))
        return number, self._pool[self._order(number)[place]]

    def _order(self, number: int) -> list[int]:
        if number not in self._orders:
            generator = torch.Generator().manual_seed(mixed_seed(self._seed, number))
            self._orders = {number: torch.randperm(len(self._pool), generator=generator).tolist()}
        return self._orders[number]


def check_pools(full: int, weak: int, *, batch_size: int, full_per_batch: int) -> None:
    """Refuse batches that ask for cases of which there are none.

    Args:
        full: number of fully labelled cases.
        weak: number of the others.
        batch_size: cases in a batch.
        full_per_batch: how many of them are fully labelled.

    Raises:
        ConfigError: a pool that is drawn from is empty.
    """
    if not full:
        raise ConfigError("data.supervision: no training case is fully labelled; raise full_groups")
    if not weak and full_per_batch < batch_size:
        raise ConfigError(
            "data.supervision: all training cases are fully labelled, but "
            f"{batch_size - full_per_batch} of {batch_size} in a batch should be weakly labelled; "
            f"lower full_groups, or set full_per_batch to {batch_size}"
        )


def check_shares(*, batch_size: int, full_per_batch: int, processes: int) -> None:
    """Refuse a mixture that some processes would see in another ratio.

    Raises:
        ConfigError: the full or the weak cases of a batch do not divide by the number of processes.
    """
    weak = batch_size - full_per_batch
    if full_per_batch % processes or weak % processes:
        raise ConfigError(
            f"data.supervision: {full_per_batch} full and {weak} weak cases in a batch do not both divide by "
            f"{processes} processes; choose multiples"
        )
