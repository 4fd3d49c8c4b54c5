"""What `bench` prints: a table, and one sentence on what limits a step and what to change."""

from __future__ import annotations

from meddistill.training.bench import Bench
from meddistill.training.bench_advice import advice
from meddistill.training.hardware import takes_bf16

_NAMES = {
    "data": "waiting for data",
    "transfer": "moving to the device",
    "teacher": "teacher",
    "student": "student forward",
    "loss": "loss",
    "backward": "backward",
    "optimiser": "optimiser",
    "other": "other",
}


def render(bench: Bench) -> str:
    """The table and the sentence, for a terminal."""
    shares, whole = bench.shares, bench.whole
    lines = [_settings(bench), "", f"{'part of a step':<22}{'share':>8}{'median':>11}  middle half"]
    for part, spread in bench.parts.items():
        lines.append(f"{_NAMES[part]:<22}{100 * shares[part]:>6.1f} %{_times(*spread)}")
    lines += [f"{'whole step':<22}{100:>6.1f} %{_times(*whole)}", ""]
    lines.append(f"{bench.images_per_second:.1f} images per second; {_memory(bench)}")
    if not bench.device.startswith("cpu"):
        lines.append("Each part was waited for; in training they overlap, and a step is no slower than this.")
    return "\n".join([*lines, advice(bench.shares, bench.recipe)])


def _times(median: float, quarter: float, three_quarters: float) -> str:
    return f"{1000 * median:>8.2f} ms  {1000 * quarter:.2f}–{1000 * three_quarters:.2f}"


def _settings(bench: Bench) -> str:
    recipe, training = bench.recipe, bench.recipe.training
    size = "x".join(map(str, recipe.data.shape))
    bf16 = takes_bf16(training.precision, training.accelerator)
    words = [f"{bench.images} images of {size} a step", bench.device, "bf16" if bf16 else "float32"]
    words += ["channels_last"] if training.channels_last else []
    words += ["compiled"] if training.compile else []
    words += [f"{training.workers} workers", f"{len(bench.steps)} steps timed"]
    return f"{recipe.name}: {', '.join(words)}"


def _memory(bench: Bench) -> str:
    memory = bench.memory
    known = {"this process": memory.process, "its workers": memory.workers, bench.device: memory.device}
    words = [f"{round(size / 2**20)} MB in {where}" for where, size in known.items() if size]
    return "peak memory " + (", ".join(words) or "unknown")
