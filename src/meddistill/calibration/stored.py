"""A fitted calibrator in a file, to be put behind its network later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from meddistill.calibration.calibrators import Calibrator, ClassTemperature, LocalTemperature, Temperature
from meddistill.errors import RunError
from meddistill.files import replacing

_KINDS: Mapping[str, type[Calibrator]] = {
    "temperature": Temperature,
    "class": ClassTemperature,
    "local": LocalTemperature,
}
_KEY = "meddistill-calibrator"
_MARK = "format"
"""Name of a tensor that is always there, because a safetensors file needs one."""


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
    import torch
    from safetensors.torch import save

    kind = next(name for name, known in _KINDS.items() if type(calibrator) is known)
    tensors = {name: value.detach().cpu().contiguous() for name, value in calibrator.state_dict().items()}
    described = json.dumps({"kind": kind, "options": calibrator.options()})
    content = save({_MARK: torch.ones(1), **tensors}, metadata={_KEY: described})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def load_calibrator(path: Path | str) -> Calibrator:
    """The calibrator that `save_calibrator` wrote, in evaluation mode; no code of the file is run.

    Raises:
        RunError: the file is missing, damaged, or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {})[_KEY])
            state = {name: file.get_tensor(name) for name in file.keys() if name != _MARK}  # noqa: SIM118
        calibrator = _KINDS[described["kind"]](**described["options"])
        calibrator.load_state_dict(state)
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing") from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise RunError(f"{path} holds no calibrator, or is damaged; fit it again") from error
    return calibrator.eval()
