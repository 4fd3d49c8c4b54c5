"""From seconds of losses and steps to tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench_page import machine_lines

COLUMNS = {
    "supervised/plain": "cross-entropy, torch",
    "supervised/method": "Supervised",
    "kd/plain": "KD, torch",
    "kd/method": "Distillation",
    "pcd/method": "PacedDistillation",
}
"""What stands above each column."""


class Spread(NamedTuple):
    """Median and middle half over the rounds."""

    median: float
    quarter: float
    three_quarters: float


def spread(rounds: Sequence[Mapping[str, float]], value: Callable[[Mapping[str, float]], float]) -> Spread:
    """Of a number formed within each round, so that a machine that slows down slows all that goes into it.

    Example:
        >>> spread([{"a": 1.0}, {"a": 2.0}, {"a": 4.0}], lambda seconds: seconds["a"])
        Spread(median=2.0, quarter=1.5, three_quarters=3.0)
    """
    values = sorted(map(value, rounds))
    quarter, median, three_quarters = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, quarter, three_quarters)


def milliseconds(case: Mapping[str, Any], work: str) -> Spread:
    """What one call takes."""
    return spread(case["seconds"], lambda seconds: 1000 * seconds[work])


def share(case: Mapping[str, Any], work: str) -> Spread:
    """What the loss costs more than the plain cross-entropy, in percent of the student's step."""
    return spread(
        case["seconds"],
        lambda seconds: 100 * (seconds[work] - seconds["supervised/plain"]) / seconds["step"],
    )


def text_table(result: Mapping[str, Any]) -> str:
    """Medians for a terminal: milliseconds, and what is added to a step."""
    names = [name for name in COLUMNS if name != "supervised/plain"]
    lines = [
        "ms of loss and gradient; in brackets, % of a step more than torch's cross-entropy (medians)",
        f"{'batch, classes':<22}{'step':>9}{COLUMNS['supervised/plain']:>22}"
        + "".join(f"{COLUMNS[name]:>19}" for name in names),
    ]
    for case in result["cases"]:
        step, plain = (milliseconds(case, work).median for work in ("step", "supervised/plain"))
        cells = [f"{milliseconds(case, n).median:>11.2f} ({share(case, n).median:+5.2f})" for n in names]
        name = f"{_size(case)}, {case['classes']}"
        lines.append(f"{name:<22}{step:>9.1f}{plain:>22.2f}{''.join(cells)}")
    return "\n".join(lines)


def markdown_page(result: Mapping[str, Any]) -> str:
    """The page docs/results/loss-cost.md, every number of it from `result`."""
    hardware, settings = result["hardware"], result["settings"]
    worst = max(value for case in result["cases"] for value in case["parity"].values())
    lines = [
        "# Cost of the losses",
        "",
        "<!-- Written by benchmarks/loss_cost.py --markdown; do not edit. -->",
        "",
        "Loss and gradient at the student's logits, teacher logits given, timed within steps of the student.",
        "benchmarks/README.md says what is compared and how to read it.",
        "",
        f"- Rounds: {settings['rounds']}, in each {settings['repeats']} timed steps with every "
        "loss, in a new order each round. Median (middle half).",
        f"- T = {settings['temperature']}, float32, seed {settings['seed']}.",
        f"- Values: before timing, each method's loss agreed with its formula to {worst:.0e}.",
        *machine_lines(hardware),
        "",
        *_table("Milliseconds", result, ["step", *COLUMNS], milliseconds, 2),
        "",
        *_table(
            "Percent of a step, more than torch's cross-entropy",
            result,
            [name for name in COLUMNS if name != "supervised/plain"],
            share,
            2,
        ),
        "",
        *_students(result),
    ]
    return "\n".join(lines) + "\n"


def _table(
    title: str,
    result: Mapping[str, Any],
    works: Sequence[str],
    cell: Callable[[Mapping[str, Any], str], Spread],
    digits: int,
) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield "| batch | classes | " + " | ".join(COLUMNS.get(work, work) for work in works) + " |"
    yield "|---|---|" + "---|" * len(works)
    for case in result["cases"]:
        cells = (cell(case, work) for work in works)
        numbers = (
            f"{c.median:.{digits}f} ({c.quarter:.{digits}f}–{c.three_quarters:.{digits}f})" for c in cells
        )
        yield f"| {_size(case)} | {case['classes']} | " + " | ".join(numbers) + " |"


def _students(result: Mapping[str, Any]) -> Iterator[str]:
    for axes, network in result["settings"]["students"].items():
        options = ", ".join(f"{name}={value}" for name, value in network["options"].items())
        yield f"The step in {axes}D: {network['name']} ({options}), Adam, torch's cross-entropy."


def _size(case: Mapping[str, Any]) -> str:
    return " x ".join(map(str, case["size"]))
