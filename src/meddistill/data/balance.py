"""Batches in which every class comes equally often, and training splits that lack a class."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

import torch

from meddistill.data.cache import CaseCache
from meddistill.data.case import Case, Source, Split
from meddistill.data.sampler import EpochSampler
from meddistill.data.seeding import mixed_seed
from meddistill.data.sources.answers import strata
from meddistill.data.sources.scan import listed
from meddistill.data.task import answers_images, task_of
from meddistill.errors import ConfigError, DataError


class BalancedSampler(EpochSampler):
    """An `EpochSampler` that draws every kind of case equally often, rare ones again and again.

    An epoch has as many draws as there are cases. Each kind gives its cases in turn, in an order that is
    drawn anew after each pass over them, so that no case comes twice before all others of its kind have come
    once. Several labels of an image count by its stratum, the rarest of them.

    Args:
        kinds: kind of each case, for example its class.
        seed: draws the orders.
        batch_size: over all processes.
        rank: number of this process.
        world_size: number of processes; must divide `batch_size`.

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> sampler = BalancedSampler(["sick", *["healthy"] * 5], seed=0, batch_size=3)
        >>> sum(index == 0 for batch in sampler for _, index in batch)
        3
    """

    def __init__(
        self, kinds: Sequence[str], *, seed: int, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(
            len(kinds), seed=seed, shuffle=True, batch_size=batch_size, rank=rank, world_size=world_size
        )
        self.members: dict[str, list[int]] = defaultdict(list)
        for index, kind in enumerate(kinds):
            self.members[kind].append(index)

    def _order(self) -> list[int]:
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.epoch))
        each = -(-self.num_cases // len(self.members))
        drawn = [
            index
            for kind in sorted(self.members)
            for index in itertools.islice(_turns(self.members[kind], generator), each)
        ]
        shuffled = torch.randperm(len(drawn), generator=generator)[: self.num_cases]
        return [drawn[place] for place in shuffled.tolist()]


def check_balance(cases: Sequence[Case]) -> None:
    """Refuse to balance cases of which no kind is known, or one kind alone.

    Raises:
        ConfigError: all cases have one stratum.
    """
    kinds = Counter(case.stratum for case in cases)
    if len(kinds) < 2:
        raise ConfigError(
            "data.balanced needs cases of several classes (strata), and all training cases are of one; "
            "leave it out"
        )


def check_classes(source: Source, split: Split) -> None:
    """Refuse a training split without a single image of some class; maps are not looked at.

    Raises:
        DataError: names the classes.

    Example:
        >>> from types import SimpleNamespace
        >>> cases = (Case("a", stratum="healthy"), Case("b", stratum="sick"))
        >>> source = SimpleNamespace(
        ...     task="classification", class_names=("healthy", "sick"), cases=cases,
        ...     read_label=lambda case: torch.tensor(int(case.stratum == "sick")).numpy())
        >>> check_classes(source, Split({"train": cases[:1]}))
        Traceback (most recent call last):
        meddistill.errors.DataError: the train split has no image of sick; divide the cases otherwise...
    """
    cases = split.cases.get("train", ())
    if not answers_images(source) or not cases:
        return
    held: set[int] = set()
    for case in cases:
        label = source.read_label(case)
        held |= {int(label)} if label.ndim == 0 else {int(index) for index in (label == 1).nonzero()[0]}
    absent = [name for value, name in enumerate(source.class_names) if value not in held]
    if absent:
        raise DataError(
            f"the train split has no image of {listed(absent)}; divide the cases otherwise (data.splits), or "
            "leave the class out of the data"
        )


def noted_kinds(cache: CaseCache) -> list[str]:
    """The kind of each case by which batches are balanced: its stratum.

    Where noise changed labels of whole images it is made from those that were noted, not from the true ones.
    """
    if not answers_images(cache.source) or not any(change.changed for change in cache.changes):
        return [case.stratum for case in cache.cases]
    labels = cache.labels.read(range(len(cache))).reshape(len(cache), -1).tolist()
    return strata([tuple(label) for label in labels], cache.source.class_names, task_of(cache.source))


def _turns(members: Sequence[int], generator: torch.Generator) -> itertools.chain[int]:
    """The members over and over, each pass in a new order."""
    return itertools.chain.from_iterable(
        [members[place] for place in torch.randperm(len(members), generator=generator).tolist()]
        for _ in itertools.count()
    )
