"""From cached cases to batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from meddistill.data.cache import CaseCache
from meddistill.data.sampler import EpochSampler, Key
from meddistill.data.seeding import mixed_seed
from meddistill.data.transforms import Sample
from meddistill.errors import ConfigError
from meddistill.methods.base import Batch


class Transform(Protocol):
    """A change of one sample that depends on the sample and the seed alone."""

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """The changed sample."""
        ...


class CaseDataset(Dataset[Batch]):
    """Batches of cached cases, by lists of `(epoch, index)` as `EpochSampler` yields them.

    Without a transform a batch is one indexing of the cache. With one, each sample is transformed with a seed
    mixed from the run's seed, the epoch and the index, so that neither the workers nor the batch size change
    the result.

    Args:
        cache: the cases.
        transform: see `meddistill.data.transforms.make_transform`; None for none.
        seed: the run's seed.
    """

    def __init__(self, cache: CaseCache, *, transform: Transform | None = None, seed: int = 0) -> None:
        self.cache = cache
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.cache)

    def __getitem__(self, key: Key | int) -> Batch:
        """A batch of one case; a plain index means epoch 0."""
        return self.__getitems__([(0, key) if isinstance(key, int) else key])

    def __iter__(self) -> Iterator[Batch]:
        """Every case as a batch of one, as in epoch 0."""
        return (self[index] for index in range(len(self)))

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """The batch of `keys`: image (B, C, *S) float32 in 0..1, label (B, *S) int64, index (B,), case_id."""
        indices = [index for _, index in keys]
        images, labels = self.cache.gather(indices)
        image, label = as_float(images), labels.long()
        if self.transform is not None:
            samples = [
                self.transform(Sample(image=image[row], label=label[row]), mixed_seed(self.seed, *key))
                for row, key in enumerate(keys)
            ]
            image = torch.stack([sample["image"] for sample in samples])
            label = torch.stack([sample["label"] for sample in samples])
        names = [self.cache.cases[index].id for index in indices]
        return Batch(image=image, label=label, index=torch.tensor(indices), case_id=names)


def as_float(images: Tensor) -> Tensor:
    """Images as float32 in 0..1, from uint8 in 0..255 or unchanged.

    Example:
        >>> as_float(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([0., 1.])
    """
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def make_loader(
    dataset: CaseDataset,
    *,
    batch_size: int,
    shuffle: bool,
    seed: int,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[Batch]:
    """A loader of whole batches whose `batch_sampler` is an `EpochSampler`: `set_epoch` gives the next order.

    The loader draws nothing from torch's global generator, and the number of workers does not change the
    batches.

    Args:
        dataset: the cases.
        batch_size: over all processes.
        shuffle: a new order each epoch.
        seed: draws the orders.
        workers: processes that load ahead; 0 loads in this one.
        rank: number of this process among `world_size`.
        world_size: number of training processes.

    Raises:
        ConfigError: an argument is out of range.
    """
    if workers < 0:
        raise ConfigError(f"workers must be 0 or more, not {workers}")
    sampler = EpochSampler(
        len(dataset), seed=seed, shuffle=shuffle, batch_size=batch_size, rank=rank, world_size=world_size
    )
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=cast("Callable[[list[Any]], Any]", _as_is),
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(mixed_seed(seed)),
    )


def _as_is(batch: Batch) -> Batch:
    return batch
