"""Reading weights of any origin without ever running code, and fitting their names to a network."""

from __future__ import annotations

import pickletools
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddistill.errors import RunError

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".ckpt")
_NESTS = ("state_dict", "model_state_dict", "model_state", "model", "student", "network", "net", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "student.", "network.", "net.")
_RUNS_CODE = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "REDUCE"})


def read_checkpoint(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a `.pt`, `.pth` or `.ckpt` file, by name. Nothing in the file is run.

    Looks into the usual nests (`state_dict`, `model`, ...) and leaves out what is no tensor.

    Raises:
        RunError: the file is missing, is no checkpoint, holds Python objects, or holds no weights.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "teacher.ckpt"
        >>> torch.save({"epoch": 3, "state_dict": {"head.weight": torch.ones(2)}}, path)
        >>> read_checkpoint(path)
        {'head.weight': tensor([1., 1.])}
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # damaged files raise whatever the unpickler stumbles over
        raise RunError(_why_unreadable(path, str(error))) from error
    state = _tensors(content)
    if not state:
        raise RunError(f"{path} holds no weights; give a file with the state_dict of a network")
    return state


def load_state(model: nn.Module, state: Mapping[str, Tensor], *, source: str = "the checkpoint") -> None:
    """Load weights into `model` in place, whatever prefix (`module.`, `model.`, `student.`) they share.

    Raises:
        RunError: weights are missing, unexpected or of another shape; the first few are named with `source`.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> load_state(layer, {"module.weight": torch.ones(1, 2), "module.bias": torch.zeros(1)})
        >>> layer.weight.data
        tensor([[1., 1.]])
    """
    own = model.state_dict()
    short = dict(zip(_bare(list(own)), own, strict=True))
    candidates = list(_candidates(dict(state)))
    best = max(candidates, key=lambda found: (len(short.keys() & found.keys()), -len(found)))
    problems = _differences({name: own[full] for name, full in short.items()}, best)
    if problems:
        raise RunError(f"{source} does not fit the network: {'; '.join(problems)}")
    model.load_state_dict({short[name]: value for name, value in best.items()})


def _why_unreadable(path: Path, message: str) -> str:
    advice = "meddistill loads only tensors; re-save its state_dict with safetensors"
    if "TorchScript" in message:
        return f"{path} is a TorchScript program; {advice}"
    named = re.search(r"GLOBAL ([\w.]+)", message)
    if named:
        return f"{path} holds Python code ({named[1]}); {advice}"
    if _pickle_runs_code(path):
        return f"{path} holds Python code; {advice}"
    return f"{path} is not a checkpoint, or is damaged; give a file that torch.save or safetensors wrote"


def _pickle_runs_code(path: Path) -> bool:
    """Whether a whole pickle would import or call something. It is parsed, not run."""
    try:
        with open(path, "rb") as file:
            names = {opcode.name for opcode, _, _ in pickletools.genops(file)}
    except Exception:  # not a pickle from start to end
        return False
    return bool(names & _RUNS_CODE)


def _tensors(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    for nest in _NESTS:
        if isinstance(content.get(nest), Mapping):
            return _tensors(content[nest])
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _bare(names: list[str]) -> list[str]:
    """`names` without the prefixes that all of them share."""
    for prefix in _PREFIXES:
        if names and all(name.startswith(prefix) for name in names):
            return _bare([name.removeprefix(prefix) for name in names])
    return names


def _candidates(state: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """What the weights of the network may be: everything, or the part behind one prefix."""
    yield dict(zip(_bare(list(state)), state.values(), strict=True))
    for prefix in _PREFIXES:
        part = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if part and len(part) < len(state):
            yield from _candidates(part)


def _differences(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    reshaped = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    lists = {
        "missing": [name for name in own if name not in given],
        "unexpected": [name for name in given if name not in own],
        "wrong shape": reshaped,
    }
    return [f"{what} {_first_few(names)}" for what, names in lists.items() if names]


def _first_few(names: list[str], count: int = 3) -> str:
    rest = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + rest
