"""The Lightning trainer that a recipe asks for: devices, precision, and nothing that writes by itself."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException

from meddistill.config import TrainingConfig
from meddistill.errors import ConfigError
from meddistill.training.hardware import lightning_precision


def make_trainer(
    config: TrainingConfig,
    *,
    callbacks: Sequence[L.Callback] = (),
    logger: Any = False,
    root: Path | None = None,
) -> L.Trainer:
    """A trainer on the devices and in the precision of `config`.

    Args:
        config: the training section of a recipe.
        callbacks: what happens between steps and epochs.
        logger: a Lightning logger, or False for none.
        root: folder that Lightning may write to; it does so only when a callback or logger asks.

    Raises:
        ConfigError: this machine lacks the hardware that is asked for.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return L.Trainer(
            max_epochs=config.epochs,
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy=config.strategy,
            precision=lightning_precision(config.precision, config.accelerator),
            sync_batchnorm=config.sync_batchnorm,
            gradient_clip_val=config.gradient_clip,
            logger=logger,
            callbacks=list(callbacks),
            default_root_dir=root,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        asked = f"{config.devices} x {config.accelerator!r}, strategy {config.strategy!r}"
        raise ConfigError(
            f"training.accelerator: {asked} cannot be used on this machine: {str(error).splitlines()[0]}"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide hints of the launcher that do not concern the user of a recipe.

    A full disk reaches us as an OSError; TensorBoard's thread, which meets it first, would print it as well.
    """
    hook = threading.excepthook

    def report(failure: threading.ExceptHookArgs) -> None:
        if not issubclass(failure.exc_type, OSError):
            hook(failure)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", category=FutureWarning)
        threading.excepthook = report
        try:
            yield
        finally:
            threading.excepthook = hook
