"""Outputs of named submodules of a network, taken as it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from meddistill.errors import ConfigError, unknown_name


class FeatureTap:
    """Records what submodules of one network put out in its last forward.

    The hooks belong to this network alone: other networks and copies of it record for themselves, and a
    network that is copied together with its tap keeps working with the copied tap. Set a tap before the
    network is
    compiled: torch ignores hooks that come later.

    Args:
        network: any network of layers.
        paths: names of submodules as `network.named_modules()` gives them, for example `encoder.layer1`.

    Raises:
        ConfigError: an unknown path (the nearest are named), a network that was compiled already, or a
            TorchScript program, which takes no hooks.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> with FeatureTap(network, ["0"]) as tap:
        ...     _ = network(torch.ones(1, 2))
        ...     features = tap.take()
        >>> features["0"].shape, features["0"].requires_grad
        (torch.Size([1, 3]), True)
    """

    def __init__(self, network: nn.Module, paths: Iterable[str]) -> None:
        _refuse_without_hooks(network)
        modules = dict(network.named_modules())
        paths = list(paths)
        for path in paths:
            if path not in modules or not path:
                raise ConfigError(unknown_name("submodule", path, filter(None, modules)))
        self._slots = {path: _Slot() for path in paths}
        self._handles = [
            modules[path].register_forward_hook(slot.record) for path, slot in self._slots.items()
        ]

    def take(self) -> dict[str, Tensor]:
        """The outputs of the last forward by path, and forget them.

        Of several outputs of a submodule the first tensor counts. A student's keep their graph.

        Raises:
            ConfigError: a submodule has not run since the last call, or put out no tensor.
        """
        outputs = {path: _tensor(slot.empty(), path) for path, slot in self._slots.items()}
        return {path: value.clone() if value.is_inference() else value for path, value in outputs.items()}

    def remove(self) -> None:
        """Take the hooks off again, and forget what was recorded."""
        for handle in self._handles:
            handle.remove()
        for slot in self._slots.values():
            slot.empty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


class _Slot:
    """Keeps the last output of one submodule. A copy starts empty: tensors with a graph cannot be copied."""

    def __init__(self) -> None:
        self._output: Any = None

    def record(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self._output = output

    def empty(self) -> Any:
        output, self._output = self._output, None
        return output

    def __deepcopy__(self, memo: dict[int, Any]) -> _Slot:
        memo[id(self)] = copy = _Slot()
        return copy


def _tensor(output: Any, path: str) -> Tensor:
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, tuple | list):
        output = next((item for item in output if isinstance(item, Tensor)), None)
    if not isinstance(output, Tensor):
        raise ConfigError(
            f"submodule {path!r} left no tensor: the network has not run since the last take, or does not "
            "use it"
        )
    return output


def _refuse_without_hooks(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ConfigError(
                "a TorchScript program takes no hooks; features come from networks of layers alone"
            )
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            raise ConfigError("the network is compiled already and would ignore hooks; set the tap before")
