"""What happens between epochs: choose weights, write the checkpoint, the history and the state."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch

from meddistill.config import TrainingConfig
from meddistill.errors import RunError
from meddistill.files import csv_text, replacing, write_text
from meddistill.models import ModelSpec, save_weights
from meddistill.training.module import DistillationModule
from meddistill.training.run_folder import RunFolder


class Recorder(L.Callback):
    """Writes the run folder after every epoch, so that a killed run goes on from the last whole epoch.

    Order matters: weights first, then the checkpoint that knows of them, then the readable files. Being
    killed between two of these repeats the epoch and, since an epoch depends on (seed, epoch) alone, writes
    the same again.

    Args:
        run: the folder to fill (rank 0 writes).
        spec: how to rebuild the student.
        config: its `patience` and which weights to `keep`.
        has_selection: False when there is no selection split; the last epoch is then the best.
    """

    def __init__(
        self, run: RunFolder, spec: ModelSpec, config: TrainingConfig, *, has_selection: bool
    ) -> None:
        self.run = run
        self.spec = spec
        self.config = config
        self.has_selection = has_selection
        self.rows: list[dict[str, float]] = []
        self.best_epoch = -1
        self.best_score = float("-inf")
        self._epoch_started = 0.0
        self._rate = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Rows so far and the best epoch, for the checkpoint."""
        return {"rows": self.rows, "best_epoch": self.best_epoch, "best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up rows and best epoch from a checkpoint."""
        self.rows = list(state_dict["rows"])
        self.best_epoch = state_dict["best_epoch"]
        self.best_score = state_dict["best_score"]

    @property
    def exhausted(self) -> bool:
        """True when the score on the selection split has not improved for `patience` epochs."""
        patience = self.config.patience
        return patience is not None and len(self.rows) - 1 - self.best_epoch >= patience

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock and note the learning rate, which the schedule changes before the epoch ends."""
        self._epoch_started = time.perf_counter()
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Record the epoch."""
        assert isinstance(pl_module, DistillationModule)
        row = self._row(trainer, pl_module)
        self.rows.append(row)
        # Without a selection split (or with an undefined score) every epoch is taken as the best so far.
        score = row.get(pl_module.selection.column, float("nan"))
        better = not score <= self.best_score
        if better:
            self.best_epoch = trainer.current_epoch
            self.best_score = score if score == score else self.best_score
        if trainer.is_global_zero:
            self._write_weights(pl_module, chosen=better or self.config.keep == "last")
        self._write_checkpoint(trainer)
        if trainer.is_global_zero:
            self._write_readable(trainer)
        if self.exhausted:
            trainer.should_stop = True

    def _row(self, trainer: L.Trainer, module: DistillationModule) -> dict[str, float]:
        row: dict[str, float] = {"epoch": trainer.current_epoch, **module.training_means()}
        if self.has_selection:
            row |= module.selection_means()
        row["lr"] = self._rate
        row |= {name: float(value) for name, value in module.method.status().items()}
        row["seconds"] = time.perf_counter() - self._epoch_started
        if trainer.logger is not None:
            trainer.logger.log_metrics(row, step=trainer.current_epoch)
        return row

    def _write_weights(self, module: DistillationModule, *, chosen: bool) -> None:
        if chosen:
            save_weights(module.evaluated, self.spec, self.run.weights)
        save_weights(module.evaluated, self.spec, self.run.last_weights)

    def _write_checkpoint(self, trainer: L.Trainer) -> None:
        """Every rank takes part in saving; rank 0 puts the file in place."""
        if trainer.world_size > 1:
            final = self.run.checkpoint
            beside = final.with_name(f".{final.name}.tmp")
            trainer.save_checkpoint(beside)
            if trainer.is_global_zero:
                beside.replace(final)
            return
        with replacing(self.run.checkpoint) as temporary:
            try:
                trainer.save_checkpoint(temporary)
            except RuntimeError as error:  # torch reports a full disk as a RuntimeError of its zip writer
                raise RunError(
                    f"cannot write {self.run.checkpoint}: {str(error).splitlines()[0]}; "
                    "free some space, then --resume"
                ) from error

    def _write_readable(self, trainer: L.Trainer) -> None:
        write_history(self.run.history, self.rows)
        self.run.write_state(
            state="running",
            epochs_done=trainer.current_epoch + 1,
            best_epoch=self.best_epoch,
            seconds=sum(row["seconds"] for row in self.rows),
        )


def write_history(path: Path, rows: list[dict[str, float]]) -> None:
    """Write one CSV row per epoch; the columns are those of all rows in order of appearance."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = ([_short(row[name]) if name in row else "" for name in columns] for row in rows)
    write_text(path, csv_text(columns, lines))


def _short(value: float) -> str:
    if value != value:
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"


class EpochProgress(L.Callback):
    """A bar over the batches of the whole training on a terminal; one line per tenth of it elsewhere."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._bar: Any = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the bar."""
        if trainer.is_global_zero and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} steps"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            total = (trainer.max_epochs or 0) * int(trainer.num_training_batches)
            self._bar.add_task("training", total=total, completed=trainer.global_step)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.update(0, completed=trainer.global_step)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say how the epoch went."""
        if not trainer.is_global_zero:
            return
        row = self.recorder.rows[-1]
        said = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  loss {row['train_loss']:.4f}"
        selection = cast("DistillationModule", pl_module).selection
        if selection.column in row:
            said += f"  {selection.title} {row[selection.column]:.4f}"
        if self._bar is not None:
            self._bar.update(0, description=said)
        elif (trainer.current_epoch + 1) % max(1, (trainer.max_epochs or 1) // 10) == 0:
            print(said, file=sys.stderr, flush=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar before the error is printed."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def restore_torch_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a run; only tensors and plain values are accepted.

    Raises:
        RunError: the file is missing, damaged, or would run code.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing; start the run without --resume") from error
    except Exception as error:
        raise RunError(
            f"cannot read {path} ({str(error).splitlines()[0]}); start again in a new folder"
        ) from error
    return state
