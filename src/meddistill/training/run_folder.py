"""The run folder: one training, with everything needed to read, repeat or ship it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meddistill.errors import RunError
from meddistill.files import write_json


@dataclass(frozen=True)
class RunFolder:
    """Names of the files of a run; nothing is created by building this object."""

    root: Path

    @property
    def config(self) -> Path:
        """The resolved recipe, YAML."""
        return self.root / "config.yaml"

    @property
    def environment(self) -> Path:
        """Versions, hardware, command, data fingerprint and case ids of each split, JSON."""
        return self.root / "environment.json"

    @property
    def state(self) -> Path:
        """`{"state": "running" | "finished", "epochs_done": n, "best_epoch": n, "seconds": s}`, JSON."""
        return self.root / "state.json"

    @property
    def model(self) -> Path:
        """How to rebuild the student: name, channels, classes, dims, options, size; JSON."""
        return self.root / "model.json"

    @property
    def weights(self) -> Path:
        """The student to use: best epoch on the selection split, or the last one; safetensors."""
        return self.root / "student.safetensors"

    @property
    def last_weights(self) -> Path:
        """Student weights after the last epoch, safetensors."""
        return self.root / "student-last.safetensors"

    @property
    def checkpoint(self) -> Path:
        """Everything needed to go on after an interruption (student, optimiser, counters)."""
        return self.root / "checkpoints" / "last.ckpt"

    @property
    def history(self) -> Path:
        """One row per epoch: losses, selection scores, pacing; CSV."""
        return self.root / "history.csv"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files."""
        return self.root / "tensorboard"

    @property
    def calibration(self) -> Path:
        """Fitted temperature and reliability bins of the teacher (before and after), JSON."""
        return self.root / "calibration.json"

    @property
    def tuning(self) -> Path:
        """What `--auto-tune` tried and chose, JSON; absent where the run was not tuned."""
        return self.root / "tuning.json"

    @property
    def teacher_check(self) -> Path:
        """The teacher's own scores, taken before training, JSON."""
        return self.root / "teacher.json"

    @property
    def teacher_store(self) -> Path:
        """Where the teacher's logits are stored, and how far they are from the live teacher's, JSON."""
        return self.root / "teacher-store.json"

    @property
    def exclusion(self) -> Path:
        """Which cases of a transferal set were left out and by which rule, JSON."""
        return self.root / "exclusion.json"

    @property
    def exclusion_table(self) -> Path:
        """The numbers that the rules measured of each case, CSV."""
        return self.root / "exclusion.csv"

    @property
    def label_noise(self) -> Path:
        """The noted and the true label of each case, or how far its map was changed, CSV; only with noise."""
        return self.root / "label-noise.csv"

    @property
    def label_clean(self) -> Path:
        """The cases that were left out because their label is probably wrong, CSV; only with clean-up."""
        return self.root / "label-clean.csv"

    def scores(self, split: str = "test", branch: str | None = None) -> Path:
        """Per-case, per-class scores of `split`, CSV; with `branch` those of that branch of the student."""
        name = f"{split}-scores" if branch is None else f"{split}-scores-{branch}"
        return self.root / "evaluation" / f"{name}.csv"

    def summary(self, split: str = "test") -> Path:
        """Means with confidence intervals, counts and reliability bins of `split`, JSON."""
        return self.root / "evaluation" / f"{split}-summary.json"

    def gallery(self, split: str = "test") -> Path:
        """Images, truth, predictions and uncertainty of the worst, median and best cases, npz."""
        return self.root / "evaluation" / f"{split}-gallery.npz"

    @property
    def attacks(self) -> Path:
        """Whether the attacks of the recipe do what attacks must, JSON; absent where it names none."""
        return self.root / "evaluation" / "attacks.json"

    @property
    def uncertainty(self) -> Path:
        """How honest and how useful the student's uncertainty is on one set, JSON; where it was asked for."""
        return self.root / "evaluation" / "uncertainty.json"

    @property
    def uncertainty_scores(self) -> Path:
        """Score and uncertainty of each case of that set, CSV."""
        return self.root / "evaluation" / "uncertainty-scores.csv"

    @property
    def calibrator(self) -> Path:
        """What was fitted last to make the student's probabilities honest, safetensors; where it was."""
        return self.root / "evaluation" / "calibrator.safetensors"

    @property
    def report(self) -> Path:
        """The self-contained page."""
        return self.root / "report.html"

    def scored_cases(self) -> dict[str, list[str]]:
        """The case ids of each set that is scored after training.

        The test split comes first, then further test sets, then what attacks make of these.

        A run whose `environment.json` is missing is taken to have a test split.

        Raises:
            RunError: `environment.json` is damaged.
        """
        if not self.environment.exists():
            return {"test": []}
        known = read_json(self.environment)
        own = known["split_cases"].get("test", [])
        names = known.get("scored", ["test"] if own else [])
        attacked = known.get("attacks", {})
        shown = {name: attacked.get(name, name) for name in names}
        return {name: own if of == "test" else known["tests"][of]["cases"] for name, of in shown.items()}

    def read_state(self) -> dict[str, Any]:
        """The content of `state.json`; `{}` when the run has not started."""
        return read_json(self.state) if self.state.exists() else {}

    def write_state(self, **changes: Any) -> None:
        """Update `state.json` with `changes`."""
        write_json(self.state, {**self.read_state(), **changes})

    @property
    def finished(self) -> bool:
        """True when training ended and its weights are final."""
        return self.read_state().get("state") == "finished"


def read_json(path: Path) -> Any:
    """The value in a JSON file of a run.

    Raises:
        RunError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: {path.parent} is not a complete run folder") from error
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise RunError(f"cannot read {path}: {error}") from error
