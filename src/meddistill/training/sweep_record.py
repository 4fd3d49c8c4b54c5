"""What a sweep leaves behind for each run: its scores, and by which settings they came about."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meddistill.errors import RunError
from meddistill.files import write_json
from meddistill.training.finished_runs import FinishedRun
from meddistill.training.hardware import version_of
from meddistill.training.run_folder import read_json

_VERSIONS = ("meddistill", "imagecorruptions-imaug")


def scores_file(out: Path, run: str, kind: str, severity: int) -> Path:
    """The file with the scores of a run under a corruption.

    Example:
        >>> scores_file(Path("out"), "kd-s0", "fog", 2).as_posix()
        'out/kd-s0/fog-2-scores.csv'
    """
    return out / run / f"{kind}-{severity}-scores.csv"


def begin(out: Path, runs: Sequence[FinishedRun], *, seed: int) -> None:
    """Note by which settings the runs are scored, or go on where the same ones are noted.

    Raises:
        RunError: the folder holds scores of such a name by other weights, data, seed or versions.
    """
    settings = {out / run.name / "corruptions.json": _settings(run, seed) for run in runs}
    for file, now in settings.items():
        before = read_json(file) if file.exists() else now
        changed = [key for key in now if before.get(key) != now[key]]
        if changed:
            raise RunError(
                f"{file.parent} has scores of another sweep (different: {', '.join(changed)}); give another "
                "folder with -o, or remove this one"
            )
    for file, now in settings.items():
        if not file.exists():
            write_json(file, now)


def _settings(run: FinishedRun, seed: int) -> dict[str, Any]:
    cases = "\0".join(case.id for case in run.data.split.cases["test"])
    return {
        "weights": _sha256(run.folder.weights.read_bytes()),
        "data": run.recipe.data.model_dump(mode="json"),
        "cases": _sha256(cases.encode()),
        "seed": seed,
        "versions": {name: version_of(name) for name in _VERSIONS},
    }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
