"""From cached cases to batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from meddistill.data.balance import BalancedSampler
from meddistill.data.cache import CaseCache
from meddistill.data.mixed_sampler import MixedSampler
from meddistill.data.sampler import EpochSampler, Key
from meddistill.data.seeding import mixed_seed
from meddistill.data.teacher_logits import TeacherLogits
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
    the result. In the keys of a `MixedSampler` the number of the pass stands in the place of the epoch.

    Args:
        cache: the cases.
        transform: see `meddistill.data.transforms.make_transform`; None for none.
        seed: the run's seed.
        teacher: stored logits that join each batch as `teacher_logits`; None for none.
    """

    def __init__(
        self,
        cache: CaseCache,
        *,
        transform: Transform | None = None,
        seed: int = 0,
        teacher: TeacherLogits | None = None,
    ) -> None:
        self.cache = cache
        self.transform = transform
        self.seed = seed
        self.teacher = teacher

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.cache)

    def __getitem__(self, key: Key | int) -> Batch:
        """A batch of one case; a plain index means epoch 0."""
        return self.__getitems__([(0, key) if isinstance(key, int) else key])

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """The batch of `keys`: image (B, C, *S) float32 in 0..1, label (B, *S) int64, index (B,), case_id.

        Under mixed supervision also full (B,) bool and weak (B, *S) int64.
        """
        indices = [index for _, index in keys]
        whole = self._read(keys)
        known = {} if self.cache.full is None else {"full": self.cache.full[indices]}
        if self.teacher is not None:
            whole["teacher_logits"] = self.teacher.read(keys)
        if self.transform is not None:
            whole = self._transformed(whole, keys)
        names = [self.cache.cases[index].id for index in indices]
        return cast("Batch", {**whole, **known, "index": torch.tensor(indices), "case_id": names})

    def _read(self, keys: Sequence[Key]) -> Sample:
        """Images and labels of `keys`, stacked."""
        indices = [index for _, index in keys]
        images, labels = self.cache.gather(indices)
        sample = Sample(image=as_float(images), label=labels.long())
        if self.cache.weak is not None:
            sample["weak"] = self.cache.gather_weak(indices)[1].long()
        return sample

    def _transformed(self, whole: Sample, keys: Sequence[Key]) -> Sample:
        """Every sample changed on its own; logits that do not follow their image stay as they are."""
        assert self.transform is not None
        fixed = {} if self.teacher is None or self.teacher.follow_image else {"teacher_logits"}
        names = [name for name in whole if name not in fixed]
        changed = []
        for row, key in enumerate(keys):
            sample = cast("Sample", {name: whole[name][row] for name in names})  # type: ignore[literal-required]
            changed.append(self.transform(sample, self._seed(key)))
        stacked = {name: torch.stack([sample[name] for sample in changed]) for name in names}  # type: ignore[literal-required]
        return cast("Sample", {**whole, **stacked})

    def _seed(self, key: Key) -> int:
        given = None if self.teacher is None else self.teacher.seed(key)
        return mixed_seed(self.seed, *key) if given is None else given


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
    kinds: Sequence[str] | None = None,
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
        kinds: kind of each case, to draw each kind equally often by a `BalancedSampler`; None takes every
            case once.

    Raises:
        ConfigError: an argument is out of range.
    """
    share = {"seed": seed, "batch_size": batch_size, "rank": rank, "world_size": world_size}
    sampler = (
        EpochSampler(len(dataset), shuffle=shuffle, **share)
        if kinds is None
        else BalancedSampler(kinds, **share)
    )
    return _loader(dataset, sampler, seed=seed, workers=workers)


def make_mixed_loader(
    dataset: CaseDataset,
    *,
    batch_size: int,
    full_per_batch: int,
    steps: int | None = None,
    seed: int,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[Batch]:
    """A loader of batches with `full_per_batch` fully labelled cases; the others are weakly labelled.

    Its `batch_sampler` is a `MixedSampler`; all else is as in `make_loader`.

    Args:
        dataset: the cases; its cache was made with a supervision.
        batch_size: over all processes.
        full_per_batch: fully labelled cases among them.
        steps: steps in an epoch; None for one pass over the weakly labelled cases.
        seed: draws the orders.
        workers: processes that load ahead; 0 loads in this one.
        rank: number of this process among `world_size`.
        world_size: number of training processes.

    Raises:
        ConfigError: an argument is out of range.
        ValueError: the cache was made without supervision.
    """
    full = dataset.cache.full
    if full is None:
        raise ValueError("batches that mix full and weak labels need a cache with a supervision")
    sampler = MixedSampler(
        full.nonzero().flatten().tolist(),
        (~full).nonzero().flatten().tolist(),
        seed=seed,
        batch_size=batch_size,
        full_per_batch=full_per_batch,
        steps=steps,
        rank=rank,
        world_size=world_size,
    )
    return _loader(dataset, sampler, seed=seed, workers=workers)


def _loader(
    dataset: CaseDataset, sampler: EpochSampler | MixedSampler, *, seed: int, workers: int
) -> DataLoader[Batch]:
    if workers < 0:
        raise ConfigError(f"workers must be 0 or more, not {workers}")
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
