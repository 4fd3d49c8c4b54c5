"""How much memory this process and those it started took at most."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import NamedTuple

import torch


class PeakMemory(NamedTuple):
    """Bytes at most; None where it cannot be told.

    Args:
        process: resident memory of this process.
        workers: sum of the resident memory of its loader workers; pages that they share with it, such as the
            decoded images, count again in each of them.
        device: what tensors took on the accelerator.
    """

    process: int | None
    workers: int | None
    device: int | None


def peak_memory(device: torch.device) -> PeakMemory:
    """The peaks since the processes began, and on the accelerator since `forget_device_peak`.

    Example:
        >>> peak_memory(torch.device("cpu")).device is None
        True
    """
    workers = [_resident(child.pid) for child in multiprocessing.active_children() if child.pid]
    on_device = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return PeakMemory(
        process=_resident(os.getpid()) or _resident_by_system(),
        workers=sum(known) if len(known := [peak for peak in workers if peak]) == len(workers) else None,
        device=on_device,
    )


def forget_device_peak(device: torch.device) -> None:
    """Count the accelerator's peak from now on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _resident(process: int) -> int | None:
    """The peak in Linux' table of processes."""
    try:
        with open(f"/proc/{process}/status", encoding="utf-8") as lines:
            found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    except OSError:
        return None
    return int(found[0]) * 1024 if found else None


def _resident_by_system() -> int | None:
    """The peak that other Unix systems tell of their own process."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
