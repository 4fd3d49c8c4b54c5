"""Fine-tuning: the weights that a student starts from, and the part of it that is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from meddistill.config import Recipe
from meddistill.errors import ConfigError, RunError
from meddistill.methods import create_method
from meddistill.models import ModelSpec, count_trained, freeze, load_state, load_weights
from meddistill.models.names import resolve_name
from meddistill.models.options import as_tuples
from meddistill.teachers.fingerprint import network_digest
from meddistill.training.run_folder import RunFolder


@dataclass(frozen=True)
class Start:
    """Where a student starts, and what of it is trained.

    Args:
        path: file of the weights.
        digest: `network_digest` of the student with them; empty where they were not read because a checkpoint
            brings later ones.
        layers: `all`, `decoder` or `head`.
        frozen: names of the modules that are frozen, see `models.freeze`.
        trained: number of parameters that are trained.
    """

    path: str
    digest: str
    layers: str
    frozen: tuple[str, ...]
    trained: int

    def to_json(self) -> dict[str, Any]:
        """Plain values for `model.json`."""
        return {
            "path": self.path,
            "digest": self.digest,
            "layers": self.layers,
            "trained_parameters": self.trained,
        }


def start_student(
    recipe: Recipe, spec: ModelSpec, student: nn.Module, *, resumed: bool = False
) -> Start | None:
    """Give `student` the weights that the recipe fine-tunes, and freeze what it does not train.

    Args:
        recipe: a checked recipe.
        spec: of the student.
        student: with random weights; changed in place.
        resumed: leave the weights alone, which come from a checkpoint; their file may be gone.

    Returns:
        What was done; None where the recipe starts from random weights.

    Raises:
        ConfigError: no start is named, or it is another network than the recipe's.
        RunError: the start is missing, unfinished or damaged, or its weights do not fit.
    """
    config = recipe.fine_tune
    if config is None:
        return None
    if config.path is None:
        hint = f"the study trains row {config.row!r} first; or " if config.row else ""
        raise ConfigError(f"{recipe.name} needs a start: {hint}give --fine_tune.path RUN_OR_WEIGHTS")
    path, digest = Path(config.path), ""
    if not resumed:
        path = _weights_file(path)
        _load(path, spec, student)
        digest = network_digest(student)
    frozen = freeze(student, config.layers)
    return Start(str(path), digest, config.layers, frozen, count_trained(student))


def check_same_network(row: str, recipe: Recipe, start_row: str, start: Recipe) -> None:
    """Refuse a row of a study that starts from a row with another network, before either is trained.

    Raises:
        ConfigError: name, options or form differ; the first difference is named.
    """
    own, other = (
        ModelSpec(each.model.name, options=each.model.options, form=create_method(**each.method).form)
        for each in (recipe, start)
    )
    _check_same(other, own, f"row {row!r} starts from row {start_row!r}, which")


def _weights_file(source: Path) -> Path:
    """The file that holds the chosen student of a run folder, or `source` itself when it is a file."""
    if source.is_file():
        return source
    if not source.is_dir():
        raise RunError(f"fine_tune.path: {source} is missing; give a run folder or a weights file")
    run = RunFolder(source)
    state = run.read_state()
    if not (state or run.config.exists() or run.weights.exists()):
        raise RunError(f"fine_tune.path: {source} is not a run folder: it has no {run.weights.name}")
    if (state and not run.finished) or not run.weights.exists():
        done = state.get("epochs_done", 0)
        raise RunError(f"fine_tune.path: {source} is unfinished ({done} epochs done); go on by --resume")
    return run.weights


def _load(path: Path, spec: ModelSpec, student: nn.Module) -> None:
    found, state = load_weights(path)
    if found is not None:
        _check_same(found, spec, f"fine_tune.path: {path}")
    load_state(student, state, source=f"fine_tune.path: {path}")


def _check_same(start: ModelSpec, own: ModelSpec, source: str) -> None:
    found = next(_differences(start, own), None)
    if found is not None:
        raise ConfigError(f"{source} is another network than the student: {found}")


def _differences(start: ModelSpec, own: ModelSpec) -> Iterator[str]:
    """What is different, the most important first, as one would say it."""
    theirs, ours = resolve_name(start.name).name, resolve_name(own.name).name
    if theirs != ours:
        yield f"{theirs}, not {ours}"
    for key, what in (("form", "form"), ("num_classes", "classes"), ("in_channels", "image channels")):
        if getattr(start, key) != getattr(own, key):
            yield f"{what} {getattr(start, key)!r}, not {getattr(own, key)!r}"
    if start.dims != own.dims:
        yield f"{start.dims}D, not {own.dims}D"
    if _plain(start.options) != _plain(own.options):
        yield f"options {dict(start.options)}, not {dict(own.options)}"


def _plain(options: Mapping[str, Any]) -> Any:
    return as_tuples(dict(options))
