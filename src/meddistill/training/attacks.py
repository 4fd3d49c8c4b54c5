"""Attacks on the student of a run: on which images, how, and whether they worked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meddistill.config import Recipe
from meddistill.config.attacks import AttackConfig, AttackedSet, PgdConfig, attacked_sets, set_name
from meddistill.data.case import is_labelled
from meddistill.errors import ConfigError
from meddistill.evaluation.attack_check import findings
from meddistill.evaluation.disturbance import GREY_LEVELS, Disturbance, fgsm_attack, pgd_attack
from meddistill.evaluation.reliability import ReliabilityBins
from meddistill.files import write_json
from meddistill.training.data import TaskData
from meddistill.training.run_folder import RunFolder, read_json
from meddistill.training.scoring import volume_input


def check_attacked(recipe: Recipe, own: TaskData, tests: Mapping[str, TaskData]) -> None:
    """Refuse attacks on images that are not there, have no labels, or are volumes.

    Args:
        recipe: its `attacks` are looked at.
        own: the data of the run.
        tests: its further test sets.

    Raises:
        ConfigError: in one line.
    """
    for name, attack in recipe.attacks.items():
        data, where = tests.get(attack.of, own), f"attacks.{name}"
        if not data.split.cases.get("test"):
            raise ConfigError(f"{where}: these data have no test split; set {where}.of to a name among tests")
        check_attackable(data, where)


def check_attackable(data: TaskData, where: str) -> None:
    """Refuse images without labels, and volumes, which are scored whole but seen in parts.

    Raises:
        ConfigError: in one line that begins with `where`.
    """
    if not is_labelled(data.source):
        raise ConfigError(f"{where}: an attack needs the labels of the images, and these have none")
    if volume_input(data.config, data.source) is not None:
        raise ConfigError(
            f"{where}: attacks change images, but these data are volumes, which the student sees in parts; "
            "leave the attack out"
        )


def check_same_attacks(recipes: Iterable[tuple[str, Recipe]], only: str | None = None) -> None:
    """Refuse runs that would be compared under attacks of one name and different options.

    Args:
        recipes: of the runs, each with what to call its run.
        only: the attacked set that is looked at; None for all.

    Raises:
        ConfigError: in one line.
    """
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    for run, recipe in recipes:
        for name, attacked in attacked_sets(recipe.attacks).items():
            options = attacked.config.model_dump() | {"eps": attacked.eps}
            other, before = first.setdefault(name, (run, options))
            if options != before and only in (None, name):
                raise ConfigError(
                    f"{other} and {run} are attacked in different ways, but both sets are called {name}; "
                    "give the attacks the same options, or other names"
                )


def disturbance_of(attacked: AttackedSet) -> Disturbance:
    """What happens to the images of an attacked set."""
    config = attacked.config
    if isinstance(config, PgdConfig):
        return pgd_attack(attacked.eps, **config.model_dump(exclude={"kind", "eps", "of"}))
    return fgsm_attack(attacked.eps)


def describe_attacks(recipe: Recipe) -> dict[str, str]:
    """What `environment.json` says of attacked sets: whose images each of them shows."""
    return {name: attacked.config.of for name, attacked in attacked_sets(recipe.attacks).items()}


def write_findings(folder: RunFolder, attacks: Mapping[str, AttackConfig]) -> None:
    """Write whether the attacks of a run do what attacks must, by what is scored of them so far.

    An attack is left out until its images are scored without it, and under at least one strength.
    """
    found = {name: _findings(folder, name, attack) for name, attack in attacks.items()}
    write_json(folder.attacks, {name: value for name, value in found.items() if len(value["sets"]) > 1})


def _findings(folder: RunFolder, name: str, attack: AttackConfig) -> dict[str, Any]:
    """The sets of an attack that are scored, the images without it first, and what was found on them."""
    strengths = {attack.of: 0.0} | {set_name(name, attack, eps): eps for eps in attack.strengths}
    scored = {made: eps for made, eps in strengths.items() if folder.summary(made).exists()}
    if attack.of not in scored:
        return {"sets": []}
    measured = [_accuracy_and_loss(read_json(folder.summary(made))) for made in scored]
    eps = [strength / GREY_LEVELS for strength in scored.values()]
    found = findings(eps, [right for right, _ in measured], [loss for _, loss in measured])
    return {"kind": attack.kind, "of": attack.of, "sets": list(scored), **found.to_json()}


def _accuracy_and_loss(summary: Mapping[str, Any]) -> tuple[float, float]:
    """Share of pixels (answers) that are right, and their mean loss, by the summary of a set."""
    bins = ReliabilityBins.from_dict(summary["reliability"])
    loss = summary["dataset"]["nll"]
    return float(bins.accuracy_sum.sum() / bins.total), float("inf") if loss is None else float(loss)
