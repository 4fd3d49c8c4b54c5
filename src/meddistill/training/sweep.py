"""The corruption sweep: every kind in every severity, seen by all runs at once."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meddistill.errors import ConfigError, RunError
from meddistill.evaluation.corruptions import Corruption, check_severity, corruptions_of
from meddistill.progress import progress
from meddistill.training.corrupted_images import Pictures, Piece, default_jobs
from meddistill.training.corrupted_scores import Table, dims_of, examined, joined, pictures_of, scored_pieces
from meddistill.training.finished_runs import FinishedRun
from meddistill.training.sweep_record import begin, scores_file
from meddistill.training.tables import read_table


@dataclass(frozen=True)
class Sweep:
    """What is asked for.

    Args:
        corruptions: names of kinds or groups, or `all`.
        severities: some of 1 to 5.
        jobs: processes that corrupt images, and on a CPU score the students; 0 for none beside this one, None
            for one a core.
        seed: of the corruptions.
    """

    corruptions: Sequence[str] = ("all",)
    severities: Sequence[int] = (1, 2, 3, 4, 5)
    jobs: int | None = None
    seed: int = 0

    def kinds(self, runs: Sequence[FinishedRun]) -> tuple[Corruption, ...]:
        """The kinds that are meant, for the images of these runs.

        Raises:
            ConfigError: an unknown name or severity, or a library is not installed.
            DataError: a kind that makes no sense for the images.
            RunError: some runs are of images and some of volumes.
        """
        for severity in self.severities:
            check_severity(severity)
        if self.jobs is not None and self.jobs < 0:
            raise ConfigError(f"--jobs: {self.jobs} is none; give 0 or more")
        dims = {dims_of(run) for run in runs}
        if len(dims) > 1:
            raise RunError("some of these runs are of images and some of volumes; give runs of one kind")
        return corruptions_of(self.corruptions, dims=dims.pop())


@dataclass(frozen=True)
class Stage:
    """One kind in one severity, and the scores of every run under it, by name."""

    kind: str
    severity: int
    tables: Mapping[str, Table]


@dataclass(frozen=True)
class _Plan:
    """A sweep that is about to begin: which runs see which pictures, in which stages."""

    runs: Sequence[FinishedRun]
    pictures: Sequence[Pictures]
    places: Sequence[int]
    stages: Sequence[tuple[Corruption, int]]
    wanted: Sweep
    out: Path

    def file(self, run: str, stage: tuple[Corruption, int]) -> Path:
        """Where the scores of a run in a stage lie."""
        return scores_file(self.out, run, stage[0].name, stage[1])

    def missing(self) -> list[tuple[Corruption, int]]:
        """The stages that a run lacks."""
        return [s for s in self.stages if not all(self.file(run.name, s).exists() for run in self.runs)]

    def batches(self) -> list[tuple[str, ...]]:
        """The cases in batches that suit every run; volumes one by one."""
        cases, volumes = tuple(self.pictures[0].cases), dims_of(self.runs[0]) == 3
        size = 1 if volumes else min(run.recipe.training.batch_size for run in self.runs)
        return [cases[start : start + size] for start in range(0, len(cases), size)]


def sweep(runs: Sequence[FinishedRun], wanted: Sweep, out: Path) -> Iterator[Stage]:
    """Score the runs under each kind and severity, kind by kind.

    What is wrong with the request is said at once, before the first stage is asked for. Each image is
    corrupted once, and all students see it; none is kept. What `out` holds already
    is not made again, and the scores of a stage are written as soon as it is complete, so that an interrupted
    sweep goes on where it was.

    Args:
        runs: finished runs with the same test cases.
        wanted: what to do to the images.
        out: folder for the scores.

    Raises:
        ConfigError: see `Sweep.kinds`.
        DataError: see `Sweep.kinds`; or an image cannot be read.
        RunError: different test cases, or `out` holds another sweep.
    """
    stages = [(kind, severity) for kind in wanted.kinds(runs) for severity in sorted(set(wanted.severities))]
    pictures, places = pictures_of(runs)
    begin(out, runs, seed=wanted.seed)
    return _stages(_Plan(runs, pictures, places, stages, wanted, out))


def _stages(plan: _Plan) -> Iterator[Stage]:
    missing = plan.missing()
    with contextlib.closing(_score(plan, missing)) as fresh:
        for stage in plan.stages:
            if stage in missing:
                next(fresh)
            tables = {run.name: read_table(plan.file(run.name, stage)) for run in plan.runs}
            yield Stage(stage[0].name, stage[1], tables)


def _score(plan: _Plan, stages: Sequence[tuple[Corruption, int]]) -> Generator[None, None, None]:
    """Write the scores of one stage after the other, and pause after each."""
    if not stages:
        return
    ready = [examined(run, place) for run, place in zip(plan.runs, plan.places, strict=True)]
    batches = plan.batches()
    pieces = [Piece(kind, severity, names) for kind, severity in stages for names in batches]
    jobs = default_jobs() if plan.wanted.jobs is None else plan.wanted.jobs
    scored = scored_pieces(pieces, plan.pictures, ready, seed=plan.wanted.seed, jobs=jobs)
    with progress("corrupting", len(pieces)) as advance:
        for stage in stages:
            parts = []
            for _ in batches:
                parts.append(next(scored))
                advance(1)
            for run, tables in zip(ready, zip(*parts, strict=True), strict=True):
                joined(tables).write_csv(plan.file(run.name, stage))
            yield
