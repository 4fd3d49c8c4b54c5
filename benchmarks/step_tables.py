"""From seconds per step to ratios, and ratios to text."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench_page import machine_lines

COMPARISONS: dict[str, list[tuple[str, str, str]]] = {
    "Noise": [("plain KD loop against itself", "kd/plain again", "kd/plain")],
    "What distillation costs": [
        ("KD / supervised, plain loop", "kd/plain", "supervised/plain"),
        ("KD / supervised, meddistill method", "kd/method", "supervised/method"),
        ("KD / supervised, meddistill shell", "kd/shell", "supervised/shell"),
        ("P-CD / supervised, meddistill method", "pcd/method", "supervised/method"),
        ("P-CD / supervised, meddistill shell", "pcd/shell", "supervised/shell"),
        ("P-CD / KD, meddistill method", "pcd/method", "kd/method"),
        ("P-CD / KD, meddistill shell", "pcd/shell", "kd/shell"),
    ],
    "Against the plain loop": [
        ("supervised, meddistill method / plain", "supervised/method", "supervised/plain"),
        ("supervised, meddistill shell / plain", "supervised/shell", "supervised/plain"),
        ("KD, meddistill method / plain", "kd/method", "kd/plain"),
        ("KD, meddistill shell / plain", "kd/shell", "kd/plain"),
        ("KD, torchdistill / plain", "kd/torchdistill", "kd/plain"),
    ],
    "Against torchdistill": [
        ("KD, meddistill method / torchdistill", "kd/method", "kd/torchdistill"),
        ("KD, meddistill shell / torchdistill", "kd/shell", "kd/torchdistill"),
    ],
    "What the Lightning shell costs": [
        ("supervised, shell / method", "supervised/shell", "supervised/method"),
        ("KD, shell / method", "kd/shell", "kd/method"),
        ("P-CD, shell / method", "pcd/shell", "pcd/method"),
    ],
}
"""For each heading: what is compared, numerator and denominator."""

STORED_COMPARISONS: dict[str, list[tuple[str, str, str]]] = {
    "Noise": [
        ("plain supervised loop against itself", "supervised/plain again", "supervised/plain"),
        ("supervised, meddistill method / plain", "supervised/method", "supervised/plain"),
    ],
    "From the store, against the plain supervised loop": [
        ("KD, meddistill method", "kd/stored", "supervised/plain"),
        ("KD, meddistill shell", "kd/stored shell", "supervised/plain"),
        ("P-CD with both masks, meddistill method", "pcd/stored", "supervised/plain"),
    ],
    "From the store, against the supervised method": [
        ("KD", "kd/stored", "supervised/method"),
        ("P-CD with both masks", "pcd/stored", "supervised/method"),
    ],
    "With the live teacher, against the plain supervised loop": [
        ("KD, meddistill method", "kd/live", "supervised/plain"),
        ("P-CD with both masks, meddistill method", "pcd/live", "supervised/plain"),
    ],
}


Comparisons = Mapping[str, Sequence[tuple[str, str, str]]]


def ratios(
    rounds: Sequence[Mapping[str, float]], comparisons: Comparisons = COMPARISONS
) -> list[dict[str, Any]]:
    """Median and spread over the rounds of each comparison whose two loops were run.

    Each ratio is formed within one round, so that a machine that slows down slows both sides.

    Example:
        >>> row = ratios([{"kd/plain": 2.0, "kd/method": 3.0}, {"kd/plain": 2.0, "kd/method": 4.0}])[0]
        >>> row["what"], row["median"], row["low"], row["high"]
        ('KD, meddistill method / plain', 1.75, 1.5, 2.0)
    """
    return [
        {"group": group, "what": what, "of": above, "to": below, **_spread(rounds, above, below)}
        for group, rows in comparisons.items()
        for what, above, below in rows
        if above in rounds[0] and below in rounds[0]
    ]


def _spread(rounds: Sequence[Mapping[str, float]], above: str, below: str) -> dict[str, float]:
    values = sorted(seconds[above] / seconds[below] for seconds in rounds)
    quarter, _, three_quarters = statistics.quantiles(values, n=4, method="inclusive")
    return {
        "median": statistics.median(values),
        "quarter": quarter,
        "three_quarters": three_quarters,
        "low": values[0],
        "high": values[-1],
    }


def text_table(result: Mapping[str, Any]) -> str:
    """The ratios and the parity of losses for a terminal."""
    lines = [f"{'step time, ratio within a round':<42}{'median':>8}  {'middle half':<15}min–max"]
    for group, rows in _grouped(result["ratios"]):
        lines += ["", group]
        lines += [
            f"  {row['what']:<40}{row['median']:>8.3f}  {_iqr(row):<15}{_range(row):<15}" for row in rows
        ]
    lines += ["", "Loss of the first step: relative difference from the reference loop"]
    for name, entry in result["parity"].items():
        lines.append(f"  {name:<40}{entry['first_loss']:>12.8f}  {entry['relative_difference']:.1e}")
    lines += [f"skipped {name}: {reason}" for name, reason in result["skipped"].items()]
    return "\n".join(lines)


def markdown_page(result: Mapping[str, Any]) -> str:
    """The page docs/results/train-step.md, every number of it from `result`."""
    hardware, settings = result["hardware"], result["settings"]
    student, teacher = (described(settings[who]) for who in ("student", "teacher"))
    lines = [
        "# Time of a training step",
        "",
        "<!-- Written by benchmarks/train_step.py --markdown; do not edit. -->",
        "",
        "Ratios of step times. benchmarks/README.md says what is compared and how to read it.",
        "",
        f"- Work: student {student}, teacher {teacher}, {settings['size']} px, batch {settings['batch']}, "
        f"Adam, float32, T = {settings['temperature']}, seed {settings['seed']}.",
        f"- Rounds: {settings['rounds']}, in each {settings['steps']} timed steps of every loop, "
        "loops in a new order each round.",
        *machine_lines(hardware),
        "",
        "| step time, ratio within a round | median | middle half | min–max |",
        "|---|---|---|---|",
    ]
    for group, rows in _grouped(result["ratios"]):
        lines.append(f"| **{group}** | | | |")
        lines += [f"| {row['what']} | {row['median']:.3f} | {_iqr(row)} | {_range(row)} |" for row in rows]
    lines += ["", *_parity_lines(result)]
    lines += [f"\nNot measured: {name} ({reason})." for name, reason in result["skipped"].items()]
    return "\n".join(lines) + "\n"


def _parity_lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield "Before timing, each loop's loss on the first batch was compared with that of a reference loop:"
    yield ""
    yield "| loop | reference | loss | relative difference |"
    yield "|---|---|---|---|"
    for name, entry in result["parity"].items():
        difference = f"{entry['relative_difference']:.1e}"
        yield f"| {name} | {entry['reference']} | {entry['first_loss']:.7f} | {difference} |"


def _grouped(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for group in dict.fromkeys(row["group"] for row in rows):
        yield group, [row for row in rows if row["group"] == group]


def columns_text(found: Mapping[str, Mapping[str, Any]], what: str) -> str:
    """The ratios of several cases one after another, for a terminal; `what` was timed."""
    lines = []
    for name, result in found.items():
        lines.append(f"{name}: {what}, ratio within a round (median, middle half)")
        lines += [
            f"  {row['group'][:34]:<36}{row['what']:<42}{row['median']:>7.3f}  {_iqr(row)}"
            for row in result["ratios"]
        ]
    return "\n".join(lines)


def columns_table(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines of a table in Markdown: a row for each comparison, a column for each case."""
    lines = ["| | " + " | ".join(found) + " |", "|---|" + "---|" * len(found)]
    for group, rows in _grouped(next(iter(found.values()))["ratios"]):
        lines.append(f"| **{group}** |" + " |" * len(found))
        for row in rows:
            cells = [_same(result, row) for result in found.values()]
            shown = " | ".join(f"{cell['median']:.3f} ({_iqr(cell)})" for cell in cells)
            lines.append(f"| {row['what']} | {shown} |")
    return lines


def _same(result: Mapping[str, Any], row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same comparison of another case."""
    places = ("group", "what")
    return next(other for other in result["ratios"] if all(other[key] == row[key] for key in places))


def _iqr(row: Mapping[str, float]) -> str:
    return f"{row['quarter']:.3f}–{row['three_quarters']:.3f}"


def _range(row: Mapping[str, float]) -> str:
    return f"{row['low']:.3f}–{row['high']:.3f}"


def described(network: Mapping[str, Any]) -> str:
    """A network's name and options in words."""
    options = ", ".join(f"{name}={value}" for name, value in network["options"].items())
    return f"{network['name']} ({options})" if options else str(network["name"])
