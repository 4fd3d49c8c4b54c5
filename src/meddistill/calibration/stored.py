"""A fitted calibrator in a file, to be put behind its network later."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from meddistill.calibration.calibrators import Calibrator, ClassTemperature, LocalTemperature, Temperature
from meddistill.errors import RunError
from meddistill.tensor_files import read_tensors, write_tensors

_KINDS: Mapping[str, type[Calibrator]] = {
    "temperature": Temperature,
    "class": ClassTemperature,
    "local": LocalTemperature,
}
_KEY = "meddistill-calibrator"


def save_calibrator(calibrator: Calibrator, path: Path | str) -> None:
    """Write a calibrator as safetensors, with what rebuilds it in the file's metadata, in one step.

    Raises:
        RunError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "calibrator.safetensors"
        >>> save_calibrator(Temperature(1.5), path)
        >>> load_calibrator(path).describe()
        {'temperature': 1.5}
    """
    kind = next(name for name, known in _KINDS.items() if type(calibrator) is known)
    described = {"kind": kind, "options": calibrator.options()}
    write_tensors(path, calibrator.state_dict(), _KEY, described)


def load_calibrator(path: Path | str) -> Calibrator:
    """The calibrator that `save_calibrator` wrote, in evaluation mode; no code of the file is run.

    Raises:
        RunError: the file is missing, damaged, or holds something else.
    """
    if not Path(path).is_file():
        raise RunError(f"{path} is missing")
    try:
        described, state = read_tensors(path, _KEY)
        calibrator = _KINDS[described["kind"]](**described["options"])
        calibrator.load_state_dict(state)
    except (RunError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise RunError(f"{path} holds no calibrator, or is damaged; fit it again") from error
    return calibrator.eval()
