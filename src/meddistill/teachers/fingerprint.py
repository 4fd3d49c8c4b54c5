"""Hashes that say whether a network or a setting is still the same, in any process and on any device."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class _Hash(Protocol):
    def update(self, data: Any, /) -> None: ...


def json_digest(value: Any) -> str:
    """SHA-256 of plain values; the order of keys does not matter.

    Example:
        >>> json_digest({"a": 1, "b": (2,)}) == json_digest({"b": [2], "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def network_digest(network: nn.Module) -> str:
    """SHA-256 over the structure of a network and its parameters and buffers.

    Structure is: name, class and `extra_repr` of each submodule, its plain attributes (numbers, text, tuples
    of them), and the code of a traced one. A tensor counts with its name, dtype, shape and bytes. A network
    that was read from a program file (with a `file_digest`) counts with that file alone.

    Example:
        >>> first, second = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3, padding=1)
        >>> _ = second.load_state_dict(first.state_dict())
        >>> network_digest(first) == network_digest(first), network_digest(first) == network_digest(second)
        (True, False)
    """
    digest = hashlib.sha256()
    for path, module in _modules(network, ""):
        _add_text(digest, [path, type(module).__qualname__, *_structure(module)])
        if hasattr(module, "file_digest"):
            continue
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in tensors:
            _add_tensor(digest, name, tensor)
    return digest.hexdigest()


def _modules(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Each submodule with its path; a compiled one counts as what was compiled."""
    module = getattr(module, "_orig_mod", module)
    yield path, module
    if not hasattr(module, "file_digest"):
        for name, child in module.named_children():
            yield from _modules(child, f"{path}.{name}")


def _structure(module: nn.Module) -> list[Any]:
    if hasattr(module, "file_digest"):
        return [module.file_digest]
    code = getattr(module, "code", None)
    plain = {name: value for name, value in vars(module).items() if name != "training" and _is_plain(value)}
    return [
        _ADDRESS.sub("", module.extra_repr()),
        {name: value for name, value in plain.items() if not name.startswith("_")},
        code if isinstance(code, str) else "",
    ]


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _add_text(digest: _Hash, value: Any) -> None:
    text = json.dumps(value, sort_keys=True).encode()
    digest.update(len(text).to_bytes(8, "little") + text)


def _add_tensor(digest: _Hash, name: str, tensor: Tensor) -> None:
    whole = tensor.detach().cpu().contiguous()
    _add_text(digest, [name, str(whole.dtype), list(whole.shape)])
    digest.update(whole.reshape(-1).view(torch.uint8).numpy())
