"""Averages of a student's weights along its training: the mean over epochs, and a moving average."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import lightning as L
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn
from torch.utils.data import DataLoader

from meddistill.config import TrainingConfig
from meddistill.config.schema import AverageConfig
from meddistill.training.module import DistillationModule


def first_epoch(start: float, epochs: int) -> int:
    """The epoch (0-based) from which on weights are averaged: `start` of all epochs, rounded up.

    Args:
        start: share of the epochs, 0 to less than 1.
        epochs: length of the training.

    Example:
        >>> first_epoch(0.15, 100), first_epoch(0.15, 3), first_epoch(0.0, 3), first_epoch(0.9, 3)
        (15, 1, 0, 2)
    """
    return min(math.ceil(start * epochs - 1e-9), epochs - 1)


class WeightAverage:
    """The average of the weights that it was given, as a network of its own.

    "swa" is the plain mean of all of them (Izmailov et al., "Averaging weights leads to wider optima and
    better generalization", UAI 2018). "ema" starts with the first and is then decay times itself plus
    1 - decay times the next one. Buffers, such as the statistics of batch normalisation, are those of the
    last network that was given.

    Args:
        kind: "swa" or "ema".
        decay: of "ema".

    Example:
        >>> network, average = nn.Linear(1, 1, bias=False), WeightAverage("swa")
        >>> for value in (1.0, 2.0, 6.0):
        ...     _ = nn.init.constant_(network.weight, value)
        ...     average.update(network)
        >>> average.network.weight.item(), average.count
        (3.0, 3)
    """

    def __init__(self, kind: str, decay: float = 0.999) -> None:
        self.count = 0
        self._network: nn.Module | None = None
        mixers: dict[str, Callable[[], Any]] = {
            "swa": get_swa_multi_avg_fn,
            "ema": lambda: get_ema_multi_avg_fn(decay),  # type: ignore[no-untyped-call]
        }
        self._mix = mixers[kind]()

    @property
    def network(self) -> nn.Module:
        """The averaged network, in evaluation mode and without gradients.

        Raises:
            ValueError: nothing was averaged yet.
        """
        if self._network is None:
            raise ValueError("nothing was averaged yet: call update first")
        return self._network

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights of `network`; the first call copies it."""
        if self._network is None:
            self._network = copy.deepcopy(network).requires_grad_(False).eval()
        else:
            self._mix(list(self._network.parameters()), list(network.parameters()), self.count)
            for own, new in zip(self._network.buffers(), network.buffers(), strict=True):
                own.copy_(new)
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        """Count and weights."""
        weights = {} if self._network is None else self._network.state_dict()
        return {"count": self.count, "weights": weights}

    def load_state_dict(self, state: Mapping[str, Any], network: nn.Module) -> None:
        """Go on from what `state_dict` returned; `network` is one of the same architecture."""
        self.count, self._network = state["count"], None
        if self.count:
            self._network = copy.deepcopy(network).requires_grad_(False).eval()
            self._network.load_state_dict(state["weights"])


@torch.no_grad()
def recompute_batch_norm(network: nn.Module, run: Callable[[Any], Any], batches: Iterable[Any]) -> None:
    """Set the statistics of all batch normalisation in `network` to those of `batches`, each weighing alike.

    An average of weights has other activations than any of the networks that it was made of. Everything else
    in the network stays in the mode it is in, so that dropout of one in evaluation mode drops nothing.

    Args:
        network: without batch normalisation nothing is run.
        run: called with each batch; calls the network.
        batches: one pass over the training set.
    """
    layers = [part for part in network.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    if not layers:
        return
    before = [(layer.momentum, layer.training) for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum, layer.training = None, True
    try:
        for batch in batches:
            run(batch)
    finally:
        for layer, (momentum, training) in zip(layers, before, strict=True):
            layer.momentum, layer.training = momentum, training


class Averaging(L.Callback):
    """Averages the student and hands the average to the module, which scores and keeps it from then on.

    "swa" takes in the student after the last step of each epoch and recomputes the statistics of batch
    normalisation over the training set, so that selection sees what is kept; "ema" takes it in after every
    step, with the statistics of the student. Before `start` the student itself is scored and kept.

    Args:
        config: kind, start and decay.
        training: the number of its epochs.
        loader: makes the loader of the whole training set.
    """

    def __init__(
        self, config: AverageConfig, training: TrainingConfig, loader: Callable[[], DataLoader[Any]]
    ) -> None:
        self.config = config
        self.first_epoch = first_epoch(config.start, training.epochs)
        self.average = WeightAverage(config.kind, config.decay)
        self._make_loader = loader
        self._restored: Mapping[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The average so far, for the checkpoint."""
        return self.average.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Note an average from a checkpoint until the student is on its device."""
        self._restored = state_dict

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take up the average of the run that goes on."""
        assert isinstance(pl_module, DistillationModule)
        if self._restored is not None:
            self.average.load_state_dict(self._restored, pl_module.student)
            self._restored = None
        if self.average.count:
            pl_module.evaluate_with(self.average.network)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take in the student: after every step, or after the last one of the epoch."""
        assert isinstance(pl_module, DistillationModule)
        due = self.config.kind == "ema" or trainer.is_last_batch
        if trainer.current_epoch < self.first_epoch or not due:
            return
        self.average.update(pl_module.student)
        if self.config.kind == "swa":
            self._recompute(trainer, pl_module)
        pl_module.evaluate_with(self.average.network)

    def _recompute(self, trainer: L.Trainer, module: DistillationModule) -> None:
        """Every process goes through the whole training set, and so finds the same statistics."""
        network = self.average.network

        def run(batch: Any) -> None:
            batch = module.on_before_batch_transfer(batch, 0)
            module.method.answer(network, trainer.strategy.batch_to_device(batch, module.device))

        loader = self._make_loader()
        loader.batch_sampler.set_epoch(trainer.current_epoch)  # type: ignore[union-attr]
        with torch.autocast(module.device.type, enabled=False):
            recompute_batch_norm(network, run, loader)
