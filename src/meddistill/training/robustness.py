"""How scores of finished runs fall as something is done to their test images, more and more strongly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meddistill.config.attack_checks import check_strength
from meddistill.errors import ConfigError, unknown_name
from meddistill.evaluation import AnswerTable, Comparison, ScoreTable
from meddistill.evaluation.corrupted_means import CLEAN, Robustness
from meddistill.evaluation.disturbance import Disturbance, fgsm_attack, pgd_attack
from meddistill.files import csv_text, write_json, write_text
from meddistill.report.robustness import write_robustness
from meddistill.training.attacks import check_attackable
from meddistill.training.claim import check_writable
from meddistill.training.corrupted_rows import CorruptedRows, estimates
from meddistill.training.disturbed import score_disturbed
from meddistill.training.evaluate import chosen_student
from meddistill.training.finished_runs import FinishedRun, finished_runs
from meddistill.training.hardware import command_line
from meddistill.training.sweep import Stage, Sweep, sweep
from meddistill.training.tables import compare_tables

KINDS: dict[str, Callable[[float], Disturbance]] = {"fgsm": fgsm_attack, "pgd": pgd_attack}
"""What can be done to images, by name: from a strength to a disturbance."""

Table = ScoreTable | AnswerTable

_POINT = ("run", "disturbance", "strength", "metric")


@dataclass(frozen=True)
class Curves:
    """Scores by kind and strength of what was done to the images.

    Args:
        points: `run`, `disturbance`, `strength`, `metric`, `mean`, `low` and `high` of each.
        comparisons: of the rows, for each attack and strength; empty with a single row.
        corruptions: means over the corruptions; None where there were none.
    """

    points: tuple[dict[str, Any], ...]
    comparisons: dict[str, Comparison]
    corruptions: Robustness | None = None

    def to_csv(self) -> str:
        """A line for each point."""
        return csv_text([*_POINT, "mean", "low", "high"], self.points)


def disturbances_of(kinds: Sequence[str], strengths: Sequence[float]) -> list[Disturbance]:
    """Each kind in each strength.

    Args:
        kinds: names in `KINDS`.
        strengths: in grey levels of 8-bit images, from weak to strong.

    Raises:
        ConfigError: an unknown kind, no strength, or one that is not above 0 and up to 255.

    Example:
        >>> [(each.name, each.strength) for each in disturbances_of(["fgsm"], [1, 2])]
        [('fgsm', 1), ('fgsm', 2)]
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"--attack: {unknown_name('attack', kind, KINDS)}")
    for strength in strengths:
        check_strength("--eps", strength)
    return [KINDS[kind](strength) for kind in dict.fromkeys(kinds) for strength in sorted(set(strengths))]


def robustness(
    runs: Sequence[Path | str],
    disturbances: Sequence[Disturbance],
    out: Path | str,
    *,
    corruptions: Sweep | None = None,
) -> Curves:
    """Score the students of finished runs on their test splits, as they are and with their images changed.

    `out` gets the scores of each case (`RUN/NAME-scores.csv`, NAME being `clean` or such as `pgd-2` or
    `fog-3`), all points of the curves (`curves.csv`) and a page (`report.html`). Where there are several rows
    each attack has a comparison (`table-NAME.md`, `comparison-NAME.json`), with the first row as the
    baseline. A sweep leaves its means and differences (`corruptions.csv`, `corruptions.json`). Folders called
    `ROW-sSEED` are seeds of one row. The run folders stay as they are.

    Args:
        runs: folders of finished runs.
        disturbances: what to do to the images; each attack is made on the student that is scored.
        out: folder to write to.
        corruptions: a sweep; None for none.

    Raises:
        RunError: not a finished run, a run that is given twice, runs that were scored on different cases, or
            an `out` that holds another sweep.
        ConfigError: a run whose test images cannot be attacked, or corruptions that are not there.
        DataError: its data cannot be read, or do not suit a corruption.
    """
    place, ready = Path(out), finished_runs(runs)
    for run in ready if disturbances else ():
        check_attackable(run.data, str(run.folder.root))
    check_writable(place)
    stages = None if corruptions is None else sweep(ready, corruptions, place)
    points: list[dict[str, Any]] = []
    rows = CorruptedRows()
    comparisons = _attack(ready, disturbances, place, points, rows)
    found = None if stages is None else _corrupt(ready, stages, points, rows)
    curves = Curves(tuple(points), comparisons, found)
    _write(curves, place)
    return curves


def _attack(
    runs: Sequence[FinishedRun],
    disturbances: Sequence[Disturbance],
    out: Path,
    points: list[dict[str, Any]],
    rows: CorruptedRows,
) -> dict[str, Comparison]:
    """Score the runs on their images as they are and under each attack; compare the rows on each."""
    tables: dict[str, dict[str, list[Table]]] = {}
    for run in runs:
        for name, disturbance, table, summary in _scored(run, disturbances):
            table.write_csv(out / run.name / f"{name}-scores.csv")
            at = (CLEAN, 0.0) if disturbance is None else (disturbance.name, disturbance.strength)
            points += _points(run.name, at, summary["metrics"])
            tables.setdefault(name, {}).setdefault(run.row, []).append(table)
            if disturbance is None:
                rows.add(run.row, run.name, (CLEAN, 0), table)
    several = {name: found for name, found in tables.items() if len(found) > 1}
    return {name: compare_tables(found, baseline=next(iter(found))) for name, found in several.items()}


def _scored(
    run: FinishedRun, disturbances: Sequence[Disturbance]
) -> Iterator[tuple[str, Disturbance | None, Table, dict[str, Any]]]:
    """Scores of a run on its test split as it is, then under each disturbance."""
    _, student, device = chosen_student(run.folder, run.recipe)
    for each in (None, *disturbances):
        table, summary = score_disturbed(
            student,
            run.data,
            "test",
            each,
            batch_size=run.recipe.training.batch_size,
            device=device,
            seed=run.recipe.seed,
        )
        yield (CLEAN if each is None else f"{each.name}-{each.strength:g}"), each, table, summary


def _corrupt(
    runs: Sequence[FinishedRun], stages: Iterable[Stage], points: list[dict[str, Any]], rows: CorruptedRows
) -> Robustness:
    """Score the runs under each corruption, stage by stage."""
    for stage in stages:
        for run in runs:
            table = stage.tables[run.name]
            rows.add(run.row, run.name, (stage.kind, stage.severity), table)
            found = estimates(table, seed=run.recipe.seed)
            points += _points(run.name, (stage.kind, float(stage.severity)), found)
    return rows.summarise()


def _points(
    run: str, at: tuple[str, float], estimated: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    return [
        dict(zip(_POINT, (run, *at, metric), strict=True))
        | {key: estimate[key] for key in ("mean", "low", "high")}
        for metric, estimate in estimated.items()
    ]


def _write(found: Curves, place: Path) -> None:
    write_text(place / "curves.csv", found.to_csv())
    for name, comparison in found.comparisons.items():
        write_text(place / f"table-{name}.md", comparison.to_markdown())
        write_json(place / f"comparison-{name}.json", comparison.to_dict())
    if found.corruptions is not None:
        write_text(place / "corruptions.csv", found.corruptions.to_csv())
        write_json(place / "corruptions.json", found.corruptions.to_dict())
        write_robustness(found.corruptions, found.points, place / "report.html", command=command_line())
