"""What the machine can do, asked of the machine."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from importlib import metadata
from typing import Any

import torch
from torch import nn

_PACKAGES = (
    "meddistill",
    "torch",
    "torchvision",
    "lightning",
    "monai",
    "segmentation-models-pytorch",
    "timm",
    "numpy",
    "scipy",
    "pillow",
)


def has_fast_bf16(accelerator: str) -> bool:
    """True where bfloat16 arithmetic runs in hardware on the accelerator in use.

    Args:
        accelerator: `"auto"`, `"cpu"`, `"gpu"` or `"mps"`, as in a recipe.
    """
    if accelerator in ("auto", "gpu") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator == "mps" or (accelerator == "auto" and torch.backends.mps.is_available()):
        return False
    asks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, ask, bool)()) for ask in asks)


def takes_bf16(precision: str, accelerator: str) -> bool:
    """Whether a recipe's precision means bfloat16: `auto` does exactly where that is fast.

    Example:
        >>> takes_bf16("bf16", "cpu"), takes_bf16("32", "cpu")
        (True, False)
    """
    return precision == "bf16" or (precision == "auto" and has_fast_bf16(accelerator))


def lightning_precision(precision: str, accelerator: str) -> str:
    """The name Lightning gives to a recipe's precision."""
    return "bf16-mixed" if takes_bf16(precision, accelerator) else "32-true"


def device_for(accelerator: str) -> torch.device:
    """The device of a recipe's `training.accelerator`: `auto` takes what the machine has, else the CPU.

    Example:
        >>> device_for("cpu")
        device(type='cpu')
    """
    if accelerator in ("auto", "gpu") and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator in ("auto", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def set_layout(dims: int, *networks: nn.Module | None) -> None:
    """Keep the weights of networks for 2D or 3D images with the channels last in memory."""
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
    for network in networks:
        if network is not None:
            network.to(memory_format=layout)  # type: ignore[call-overload]


def command_line() -> str:
    """The command that started this process, as a user would type it again."""
    return shlex.join(["meddistill", *sys.argv[1:]])


def describe() -> dict[str, Any]:
    """Versions, processor, threads, accelerator and the command, for the run folder."""
    return {
        "command": command_line(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "versions": {name: version_of(name) for name in _PACKAGES},
    }


def version_of(package: str) -> str:
    """The version of an installed package, or "not installed".

    Example:
        >>> version_of("no-such-package")
        'not installed'
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        named = []
    return named[0] if named else platform.processor() or platform.machine()
