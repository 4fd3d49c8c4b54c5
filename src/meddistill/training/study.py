"""`study`: every row of a recipe with every seed, in the right order, several at a time, resumable."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meddistill.config import Recipe, load_recipe, recipe_to_yaml
from meddistill.config.load import check_recipe, merge, read_recipe_mapping
from meddistill.errors import ConfigError, RunError, unknown_name
from meddistill.files import write_text
from meddistill.training.claim import check_same_recipe
from meddistill.training.run_folder import RunFolder
from meddistill.training.start import check_same_network
from meddistill.training.study_tuning import RowTuning


@dataclass(frozen=True)
class PlannedRun:
    """One cell of a study: a row of the table with one seed.

    `needs` names the runs that it takes its teachers and its start from.
    """

    row: str
    seed: int
    recipe: Recipe
    folder: Path
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.row}-s{self.seed}"


def plan_study(
    name: str, out: Path, overrides: Mapping[str, Any] | None = None
) -> tuple[Recipe, list[PlannedRun]]:
    """Read a study recipe and list its runs, each after those that it needs.

    Overrides apply to every row. A teacher (or member) or a start of fine-tuning that is given as `row`
    becomes the run of that row with the same seed.

    Raises:
        ConfigError: no study section, an unknown row, rows that need each other in a circle, or a row that
            starts from one with another network.
    """
    study_recipe = load_recipe(name, overrides)
    if study_recipe.study is None:
        raise ConfigError(
            f"recipe {name} has no study section with rows and seeds; use `meddistill train {name}`"
        )
    base = merge(read_recipe_mapping(name), overrides or {})
    rows = study_recipe.study.rows
    resolved: dict[str, dict[str, Any]] = {
        row: merge(merge(base, changes or {}), overrides or {}) | {"study": None}
        for row, changes in rows.items()
    }
    runs = [
        _planned(row, seed, resolved, out) for seed in study_recipe.study.seeds for row in _in_order(resolved)
    ]
    _check_starts(runs, resolved)
    return study_recipe, runs


def _check_starts(runs: Sequence[PlannedRun], rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a row that is to start from the weights of another network."""
    recipes = {run.row: run.recipe for run in runs}
    for row, recipe in recipes.items():
        start = (rows[row].get("fine_tune") or {}).get("row")
        if start is not None:
            check_same_network(row, recipe, start, recipes[start])


def _sources(mapping: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The teacher of a recipe, or its members."""
    teacher = mapping.get("teacher")
    members = teacher.get("members") if isinstance(teacher, Mapping) else None
    found = [teacher, *(members if isinstance(members, list) else [])]
    return [source for source in found if isinstance(source, Mapping)]


def _rows_needed(mapping: Mapping[str, Any]) -> dict[str, str]:
    """The rows that a recipe takes teachers or its start from, and the key that names each first."""
    named = [("teacher.row", source.get("row")) for source in _sources(mapping)]
    start = mapping.get("fine_tune")
    if isinstance(start, Mapping):
        named.append(("fine_tune.row", start.get("row")))
    found: dict[str, str] = {}
    for key, row in named:
        if row is not None:
            found.setdefault(row, key)
    return found


def _in_order(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Row names, each after the rows that its teachers and its start come from."""
    ordered: list[str] = []

    def place(row: str, above: tuple[str, ...], key: str) -> None:
        if row in above:
            raise ConfigError(
                f"study rows need each other as teachers or starts in a circle: {' -> '.join((*above, row))}"
            )
        if row not in rows:
            raise ConfigError(f"{key}: " + unknown_name("row", row, rows))
        for needed, where in _rows_needed(rows[row]).items():
            place(needed, (*above, row), where)
        if row not in ordered:
            ordered.append(row)

    for row in rows:
        place(row, (), "study.rows")
    return ordered


def _planned(row: str, seed: int, rows: Mapping[str, Mapping[str, Any]], out: Path) -> PlannedRun:
    mapping = merge(rows[row], {"seed": seed})
    needs = tuple(f"{needed}-s{seed}" for needed in _rows_needed(mapping))
    for section in ("teacher", "fine_tune"):
        if section in mapping:
            mapping = {**mapping, section: _with_paths(mapping[section], out, seed)}
    return PlannedRun(row, seed, check_recipe(mapping), out / "runs" / f"{row}-s{seed}", needs)


def shared_sets(scored: Sequence[Mapping[str, list[str]]]) -> list[str]:
    """Names of the sets that all runs are scored on, with the same cases.

    Args:
        scored: for each run the case ids of every set that it is scored on.

    Example:
        >>> shared_sets([{"test": ["1"], "far": ["2"]}, {"test": ["3"], "far": ["2"]}])
        ['far']
    """
    first, *others = scored
    return [
        name
        for name, cases in first.items()
        if all(sorted(other.get(name, ())) == sorted(cases) for other in others)
    ]


def _with_paths(source: Any, out: Path, seed: int) -> Any:
    """A teacher (or member) or start whose row, and those of its members, are the folders of their runs."""
    if not isinstance(source, Mapping):
        return source
    found = dict(source)
    if found.get("row") is not None:
        found |= {"row": None, "path": str(out / "runs" / f"{found['row']}-s{seed}")}
    if isinstance(found.get("members"), list):
        found["members"] = [_with_paths(member, out, seed) for member in found["members"]]
    return found


def run_study(
    runs: list[PlannedRun],
    out: Path,
    *,
    jobs: int = 1,
    auto_tune: float | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Train and evaluate all runs that are not finished, `jobs` at a time, each in a process of its own.

    Calling it again after an interruption goes on where it stopped. With `auto_tune` the first run of each
    row tries for so many seconds what trains faster, and the others of the row take its choice.

    Raises:
        DataError: the data cannot be found or divided; nothing was started.
        ConfigError: a method needs labels that its data lack, or the runs are scored on nothing in common;
            nothing was started.
        RunError: a run was begun with another recipe, and nothing was started; or at least one run failed,
            and the others were finished first.
    """
    tuning = RowTuning(runs, auto_tune)
    for run in runs:
        if RunFolder(run.folder).config.exists():
            check_same_recipe(RunFolder(run.folder), tuning.made(run))
    waiting = [run for run in runs if not _complete(run)]
    _check_data(waiting)
    done = {run.name for run in runs} - {run.name for run in waiting}
    if done:
        say(f"{len(done)} of {len(runs)} runs are finished already")
    failed: dict[str, str] = {}
    stop = threading.Event()
    with _stopped_by_signals(), ThreadPoolExecutor(jobs) as pool:
        active: dict[Future[str | None], PlannedRun] = {}
        try:
            while waiting or active:
                _start_ready(pool, active, waiting, done, failed, tuning, out, jobs, stop)
                # A run that waits for its row to be tuned may start before another has finished.
                pause = None if auto_tune is None else 1.0
                finished, _ = wait(active, timeout=pause, return_when=FIRST_COMPLETED)
                for future in finished:
                    run = active.pop(future)
                    problem = future.result()
                    if problem is None:
                        done.add(run.name)
                        say(f"[{len(done)}/{len(runs)}] {run.name} finished")
                    else:
                        failed[run.name] = problem
                        say(f"{run.name} failed: {problem}")
        except KeyboardInterrupt:
            stop.set()
            raise
    if failed:
        name, problem = next(iter(failed.items()))
        raise RunError(f"{len(failed)} of {len(runs)} runs failed, first {name}: {problem}")


def _check_data(runs: list[PlannedRun]) -> None:
    """Scan and divide the data of all runs, so that a wrong folder is refused before anything is written."""
    from meddistill.methods import create_method
    from meddistill.training.assembly import student_spec
    from meddistill.training.attacks import check_attacked, check_same_attacks, describe_attacks
    from meddistill.training.data import TaskData
    from meddistill.training.further_tests import find_tests, scored_cases
    from meddistill.training.supervision import check_labels

    check_same_attacks((run.row, run.recipe) for run in runs)
    scored: dict[str, dict[str, list[str]]] = {}
    found: dict[str, TaskData] = {}
    for run in runs:
        recipe = run.recipe
        own, key = repr(recipe.data), repr((recipe.data, recipe.tests, recipe.attacks))
        if own not in found:
            found[own] = TaskData.from_config(recipe.data)
        check_labels(create_method(**recipe.method), found[own].source)
        if key not in scored:
            tests = find_tests(recipe, student_spec(recipe, found[own]), found[own])
            check_attacked(recipe, found[own], tests)
            scored[key] = scored_cases(found[own], tests, describe_attacks(recipe))
    if scored and not shared_sets(list(scored.values())):
        raise ConfigError(
            "the rows of this study are scored on nothing in common, so that no table can be made; give a "
            "test split (data.splits), or test sets that all rows share (tests)"
        )


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM end a study as Ctrl-C does, so that no training is left behind without its study."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _complete(run: PlannedRun) -> bool:
    folder = RunFolder(run.folder)
    return folder.finished and all(folder.summary(name).exists() for name in folder.scored_cases())


def _start_ready(
    pool: ThreadPoolExecutor,
    active: dict[Future[str | None], PlannedRun],
    waiting: list[PlannedRun],
    done: set[str],
    failed: dict[str, str],
    tuning: RowTuning,
    out: Path,
    jobs: int,
    stop: threading.Event,
) -> None:
    """Start waiting runs that have what they need; give up those that need a run that failed."""
    for run in list(waiting):
        lost = [name for name in run.needs if name in failed]
        if lost:
            failed[run.name] = f"{lost[0]}, which it needs, failed"
            waiting.remove(run)
            continue
        ready = done.issuperset(run.needs)
        if ready and len(active) < jobs and not tuning.must_wait(run, active.values()):
            waiting.remove(run)
            active[pool.submit(_train_process, run, tuning, out, jobs, stop)] = run


def _train_process(
    run: PlannedRun, tuning: RowTuning, out: Path, jobs: int, stop: threading.Event
) -> str | None:
    """Run one training as `meddistill train` would; None, or the last line it printed when it failed."""
    config = out / "recipes" / f"{run.name}.yaml"
    recipe, options = tuning.settle(run)
    write_text(config, recipe_to_yaml(recipe))
    log = out / "logs" / f"{run.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    command = [sys.executable, "-m", "meddistill", "train", str(config), "--out", str(run.folder), "--resume"]
    command += ["--stores", str(out / "teacher-stores"), *options]
    with open(log, "a", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        while True:
            try:
                code = process.wait(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    process.terminate()
    if code == 0:
        return None
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else f"exit code {code}"
