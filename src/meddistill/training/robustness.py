"""How scores of finished runs fall as something is done to their test images, more and more strongly."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meddistill.config import Recipe
from meddistill.config.attack_checks import check_strength
from meddistill.errors import ConfigError, RunError, unknown_name
from meddistill.evaluation import AnswerTable, Comparison, ScoreTable
from meddistill.evaluation.disturbance import Disturbance, fgsm_attack, pgd_attack
from meddistill.files import write_json, write_text
from meddistill.training.attacks import check_attackable
from meddistill.training.claim import check_same_split, check_writable
from meddistill.training.data import TaskData
from meddistill.training.disturbed import score_disturbed
from meddistill.training.evaluate import chosen_student, own_data, read_recipe
from meddistill.training.run_folder import RunFolder
from meddistill.training.tables import compare_tables, row_of

KINDS: dict[str, Callable[[float], Disturbance]] = {"fgsm": fgsm_attack, "pgd": pgd_attack}
"""What can be done to images, by name: from a strength to a disturbance."""

CLEAN = "clean"
"""What the images themselves are called."""

Table = ScoreTable | AnswerTable


@dataclass(frozen=True)
class Curves:
    """Scores by kind and strength of what was done to the images.

    Args:
        points: `run`, `disturbance`, `strength`, `metric`, `mean`, `low` and `high` of each.
        comparisons: of the rows, for each disturbance and strength; empty with a single row.
    """

    points: tuple[dict[str, Any], ...]
    comparisons: dict[str, Comparison]

    def to_csv(self) -> str:
        """A line for each point."""
        stream = io.StringIO()
        writer = csv.DictWriter(stream, [*_POINT, "mean", "low", "high"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.points)
        return stream.getvalue()


_POINT = ("run", "disturbance", "strength", "metric")


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


def robustness(runs: Sequence[Path | str], disturbances: Sequence[Disturbance], out: Path | str) -> Curves:
    """Score the students of finished runs on their test splits, as they are and under each disturbance.

    `out` gets the scores of each case (`RUN/NAME-scores.csv`, NAME being `clean` or such as `pgd-2`), all
    points of the curves (`curves.csv`), and where there are several rows a comparison for each disturbance
    (`table-NAME.md`, `comparison-NAME.json`), with the first row as the baseline. Folders called `ROW-sSEED`
    are seeds of one row. The run folders stay as they are.

    Args:
        runs: folders of finished runs.
        disturbances: what to do to the images; each attack is made on the student that is scored.
        out: folder to write to.

    Raises:
        RunError: not a finished run, a run that is given twice, or runs that were scored on different cases.
        ConfigError: a run whose test images cannot be attacked.
        DataError: its data cannot be read.
    """
    place, folders = Path(out), [RunFolder(Path(run).resolve()) for run in runs]
    names = [folder.root.name for folder in folders]
    if len(set(names)) < len(names):
        raise RunError("two runs have the same name; give each run once, in folders of different names")
    ready = [(folder, *_test_data(folder)) for folder in folders]
    check_writable(place)
    tables: dict[str, dict[str, list[Table]]] = {}
    points: list[dict[str, Any]] = []
    for folder, recipe, data in ready:
        for name, disturbance, table, summary in _scored(folder, recipe, data, disturbances):
            table.write_csv(place / folder.root.name / f"{name}-scores.csv")
            points += _points(folder.root.name, disturbance, summary)
            tables.setdefault(name, {}).setdefault(row_of(folder.root), []).append(table)
    several = {name: rows for name, rows in tables.items() if len(rows) > 1}
    comparisons = {name: compare_tables(rows, baseline=next(iter(rows))) for name, rows in several.items()}
    found = Curves(tuple(points), comparisons)
    _write(found, place)
    return found


def _test_data(folder: RunFolder) -> tuple[Recipe, TaskData]:
    """The recipe of a run and its own data, if they can be attacked."""
    recipe = read_recipe(folder)
    if not folder.finished:
        raise RunError(f"{folder.root} is not finished; train it to its end first")
    data = own_data(recipe)
    if not data.split.cases.get("test"):
        raise RunError(f"{folder.root} has no test split to attack")
    check_attackable(data, str(folder.root))
    check_same_split(folder, data)
    return recipe, data


def _scored(
    folder: RunFolder, recipe: Recipe, data: TaskData, disturbances: Sequence[Disturbance]
) -> Iterator[tuple[str, Disturbance | None, Table, dict[str, Any]]]:
    """Scores of a run on its test split as it is, then under each disturbance."""
    _, student, device = chosen_student(folder, recipe)
    for each in (None, *disturbances):
        table, summary = score_disturbed(
            student,
            data,
            "test",
            each,
            batch_size=recipe.training.batch_size,
            device=device,
            seed=recipe.seed,
        )
        yield (CLEAN if each is None else f"{each.name}-{each.strength:g}"), each, table, summary


def _points(run: str, disturbance: Disturbance | None, summary: dict[str, Any]) -> list[dict[str, Any]]:
    name, strength = (CLEAN, 0.0) if disturbance is None else (disturbance.name, disturbance.strength)
    return [
        dict(zip(_POINT, (run, name, strength, metric), strict=True))
        | {key: estimate[key] for key in ("mean", "low", "high")}
        for metric, estimate in summary["metrics"].items()
    ]


def _write(found: Curves, place: Path) -> None:
    write_text(place / "curves.csv", found.to_csv())
    for name, comparison in found.comparisons.items():
        write_text(place / f"table-{name}.md", comparison.to_markdown())
        write_json(place / f"comparison-{name}.json", comparison.to_dict())
