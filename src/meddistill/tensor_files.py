"""Tensors with a text beside them in one safetensors file, which no code of the file can hide in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddistill.errors import RunError
from meddistill.files import replacing

if TYPE_CHECKING:
    from torch import Tensor


def write_tensors(path: Path | str, tensors: Mapping[str, Tensor], key: str, described: Any) -> None:
    """Write tensors and, as JSON under `key` of the file's metadata, what describes them, in one step.

    Raises:
        RunError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
        >>> write_tensors(path, {}, "about", {"of": 1})
        >>> read_tensors(path, "about")
        ({'of': 1}, {})
    """
    from safetensors.torch import save

    plain = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    content = save(plain, metadata={key: json.dumps(described)})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def read_tensors(path: Path | str, key: str) -> tuple[Any, dict[str, Tensor]]:
    """What `write_tensors` wrote: the description, None where the file has none under `key`, and the tensors.

    Raises:
        RunError: the file cannot be read, or is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(key)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        return (json.loads(text) if text else None), tensors
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise RunError(f"{path} is not a safetensors file, or is damaged: {error}") from error
