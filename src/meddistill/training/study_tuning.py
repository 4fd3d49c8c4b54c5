"""One `--auto-tune` for each row of a study: its first run is tuned, the other seeds take what that chose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meddistill.config import Recipe
from meddistill.training.run_folder import RunFolder
from meddistill.training.tuning import with_stored_choice

if TYPE_CHECKING:
    from meddistill.training.study import PlannedRun


@dataclass(frozen=True)
class RowTuning:
    """Who is tuned and who follows; seeds of one row must not differ in anything but the seed.

    Args:
        runs: all runs of the study.
        seconds: for each tuning; None tunes nothing, but an earlier choice still holds.
    """

    runs: Sequence[PlannedRun]
    seconds: float | None

    def must_wait(self, run: PlannedRun, active: Iterable[PlannedRun]) -> bool:
        """Whether another run of the row is being tuned at this moment."""
        if self.seconds is None or RunFolder(run.folder).config.exists():
            return False
        return any(other.row == run.row and not RunFolder(other.folder).config.exists() for other in active)

    def made(self, run: PlannedRun) -> Recipe:
        """The recipe that the folder of a run which was begun must hold.

        Raises:
            RunError: the choice of a run of the row cannot be read.
        """
        own = RunFolder(run.folder)
        return with_stored_choice(own, run.recipe) if own.tuning.exists() else self.settle(run)[0]

    def settle(self, run: PlannedRun) -> tuple[Recipe, list[str]]:
        """The recipe to train `run` with, and what its command needs besides.

        Raises:
            RunError: the choice of another run of the row cannot be read.
        """
        own = RunFolder(run.folder)
        others = [RunFolder(other.folder) for other in self.runs if other.row == run.row and other != run]
        tuned = [folder for folder in others if folder.tuning.exists()]
        if tuned and not own.tuning.exists():
            return with_stored_choice(tuned[0], run.recipe), []
        begun = [folder for folder in (own, *others) if folder.config.exists()]
        fresh = self.seconds is not None and not begun
        return run.recipe, ["--auto-tune", str(self.seconds)] if fresh else []
