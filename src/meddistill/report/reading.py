"""Reading a run folder for the report: every part that is there, and a note for every part that is not."""

from __future__ import annotations

import csv
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import yaml

from meddistill.errors import RunError
from meddistill.training.run_folder import RunFolder, read_json

Part = TypeVar("Part")
History = Mapping[str, list[float | None]]
"""Columns of `history.csv` by name, one value an epoch, None where the field is empty."""

_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    RunError,
    csv.Error,
    yaml.YAMLError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the readers raise on files that are broken or hold something else."""


@dataclass(frozen=True)
class Gallery:
    """The cases worth looking at, N of them, each with C channels and H x W pixels.

    Args:
        cases: N case ids.
        kinds: N times `worst`, `median` or `best`.
        images: (N, C, H, W) uint8.
        labels: (N, H, W) integer truth, `IGNORE_INDEX` where unknown.
        students: (N, H, W) integer prediction of the student.
        teachers: the same of the teacher, or None when the run has none.
        uncertainty: (N, H, W) uint8, 255 where the student is least sure, or None.
        dice: N Dice scores, NaN where not defined.
    """

    cases: tuple[str, ...]
    kinds: tuple[str, ...]
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.integer[Any]]
    students: npt.NDArray[np.integer[Any]]
    teachers: npt.NDArray[np.integer[Any]] | None
    uncertainty: npt.NDArray[np.uint8] | None
    dice: npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class SetContent:
    """What the evaluation of one set of cases left.

    Args:
        name: a split of the run's own data, or a further test set.
        summary: the parsed mapping.
        scores: rows of the per-case table, as text.
        gallery: the cases to show, or None.
        wrong: file of the worst errors of answers about whole images, or None.
    """

    name: str
    summary: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[Mapping[str, str], ...] = ()
    gallery: Gallery | None = None
    wrong: Path | None = None


@dataclass(frozen=True)
class RunContent:
    """What the files of one run say. A part that is absent or unreadable is empty and named in `missing`.

    Args:
        root: the run folder.
        config_text: `config.yaml` as it stands.
        config, environment, state, model, calibration, teacher, teacher_store, exclusion, attacks,
            uncertainty, summary: the parsed mappings.
        history: columns of the training history.
        scores: rows of the per-case table, as text.
        gallery: the cases to show, or None.
        wrong: file of the worst errors of answers about whole images, or None.
        scored: name of the set that `summary`, `scores` and `gallery` belong to: the first that is scored.
        others: the other sets that were scored or will be; of attacked images only their summaries.
        missing: one sentence for each part that is not there.
    """

    root: Path
    config_text: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    teacher: Mapping[str, Any] = field(default_factory=dict)
    teacher_store: Mapping[str, Any] = field(default_factory=dict)
    exclusion: Mapping[str, Any] = field(default_factory=dict)
    attacks: Mapping[str, Any] = field(default_factory=dict)
    uncertainty: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=dict)
    scores: tuple[Mapping[str, str], ...] = ()
    gallery: Gallery | None = None
    wrong: Path | None = None
    scored: str = "test"
    others: tuple[SetContent, ...] = ()
    missing: tuple[str, ...] = ()


def read_run(run: RunFolder) -> RunContent:
    """Read all parts of a run that its report shows.

    Raises:
        RunError: the folder itself does not exist. A missing or broken file inside is a note, not an error.

    Example:
        >>> import tempfile
        >>> content = read_run(RunFolder(Path(tempfile.mkdtemp())))
        >>> content.missing[0]
        'config.yaml is not in the run folder: the recipe cannot be shown.'
    """
    if not run.root.is_dir():
        raise RunError(f"{run.root} is not a folder; give the folder of a run")
    missing: list[str] = []

    def part(path: Path, read: Callable[[Path], Part], empty: Part, what: str = "") -> Part:
        try:
            return read(path)
        except FileNotFoundError:
            if what:
                missing.append(f"{path.relative_to(run.root).as_posix()} is not in the run folder: {what}.")
        except _UNREADABLE:
            missing.append(
                f"{path.relative_to(run.root).as_posix()} cannot be read; what it would tell is left out."
            )
        return empty

    def scored(name: str, *, attacked: bool) -> SetContent:
        empty: Mapping[str, Any] = {}
        summary = part(run.summary(name), _json_mapping, empty, f"the {name} scores have not been taken")
        if attacked:
            return SetContent(name, summary=summary)
        of_images = bool(summary.get("task"))
        maps = (
            None if of_images else part(run.gallery(name), _gallery, None, "there are no pictures of cases")
        )
        return SetContent(
            name,
            summary=summary,
            scores=part(run.scores(name), _rows, (), "there is no table of cases"),
            gallery=maps,
            wrong=run.gallery(name) if of_images and run.gallery(name).is_file() else None,
        )

    content = RunContent(
        root=run.root,
        config_text=part(run.config, _text, "", "the recipe cannot be shown"),
        config=part(run.config, _yaml_mapping, {}),
        environment=part(run.environment, _json_mapping, {}, "versions and hardware are unknown"),
        state=part(run.state, _json_mapping, {}, "whether the training finished is unknown"),
        model=part(run.model, _json_mapping, {}, "the student is not described"),
        calibration=part(run.calibration, _json_mapping, {}),
        teacher=part(run.teacher_check, _json_mapping, {}),
        teacher_store=part(run.teacher_store, _json_mapping, {}),
        exclusion=part(run.exclusion, _json_mapping, {}),
        attacks=part(run.attacks, _json_mapping, {}),
        uncertainty=part(run.uncertainty, _json_mapping, {}),
        history=part(run.history, _columns, {}, "there are no training curves"),
    )
    changed = content.environment.get("attacks") or {}
    first, *others = [scored(name, attacked=name in changed) for name in _set_names(run)]
    return replace(
        content,
        summary=first.summary,
        scores=first.scores,
        gallery=first.gallery,
        wrong=first.wrong,
        scored=first.name,
        others=tuple(others),
        missing=tuple(dict.fromkeys(missing)),
    )


def _set_names(run: RunFolder) -> list[str]:
    """The sets that are scored after training, then others that have scores; at least `test`."""
    try:
        names = list(run.scored_cases())
    except _UNREADABLE:
        names = []
    found = (file.stem.removesuffix("-summary") for file in run.root.glob("evaluation/*-summary.json"))
    return list(dict.fromkeys([*names, *sorted(found)])) or ["test"]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not a mapping")
    return {str(key): item for key, item in value.items()}


def _yaml_mapping(path: Path) -> Mapping[str, Any]:
    return _mapping(yaml.safe_load(_text(path)))


def _json_mapping(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        raise FileNotFoundError(path)
    return _mapping(read_json(path))


def _rows(path: Path) -> tuple[Mapping[str, str], ...]:
    with open(path, encoding="utf-8", newline="") as stream:
        return tuple(
            {key: value or "" for key, value in row.items() if key} for row in csv.DictReader(stream)
        )


def _columns(path: Path) -> History:
    rows = _rows(path)
    names = list(rows[0]) if rows else []
    return {name: [to_number(row[name]) for row in rows] for name in names}


def to_number(value: Any) -> float | None:
    """`value` as a finite float, or None where it is empty, not a number, NaN or infinite.

    Example:
        >>> to_number("0.5"), to_number(""), to_number("nan"), to_number(None)
        (0.5, None, None, None)
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _gallery(path: Path) -> Gallery | None:
    with np.load(path, allow_pickle=False) as arrays:
        cases = tuple(str(case) for case in arrays["case"])
        if not cases:
            return None
        gallery = Gallery(
            cases=cases,
            kinds=tuple(str(kind) for kind in arrays["kind"]),
            images=arrays["image"],
            labels=arrays["label"],
            students=arrays["student"],
            teachers=arrays.get("teacher"),
            uncertainty=arrays.get("uncertainty"),
            dice=arrays["dice"],
        )
    maps = (gallery.labels, gallery.students, gallery.teachers, gallery.uncertainty)
    shape = (len(cases), *gallery.images.shape[2:])
    if any(each is not None and each.shape != shape for each in maps):
        raise ValueError("pictures of different sizes")
    if not len(cases) == len(gallery.kinds) == len(gallery.dice) == len(gallery.images):
        raise ValueError("lists of different lengths")
    return gallery
