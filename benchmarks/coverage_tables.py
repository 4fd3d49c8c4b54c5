"""From counts of simulations to tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from bench_page import machine_lines

TABLES: Mapping[str, tuple[str, str]] = {
    "mean": (
        "Intervals of a mean",
        "Share of simulations in which the 95 % interval of one run's mean holds the true mean, %. "
        "`reported` is what summaries and comparisons show; it leaves the truth out below and above it as "
        "the next two columns say. `missed`: share of cases with a Dice of 0.",
    ),
    "few groups": (
        "How few groups are too few",
        "The same with two cases a group.",
    ),
    "pairs": (
        "Paired tests",
        "Share in which a test of two rows rejects at 5 %, %. `alike`: it should be 5. `same mean`: one row "
        "misses 3 % of the cases and is a little better on all others, so that the means agree and the "
        "differences are skewed; a test of the mean should reject in 5. `better`: by 2 Dice points; more is "
        "better. `interval`: that of the difference leaves out 0.",
    ),
    "margin": (
        "Not worse by more than one Dice point",
        "Share in which this is shown, and in which the row is said to be worse, %. With a true loss of "
        "exactly the margin both should be 2.5 at most.",
    ),
    "seeds": (
        "Several seeds",
        "Share of 95 % intervals that hold the truth over all cases and trainings, %: for the mean of a row "
        "and for the difference of two equally good ones. `spread` is the standard deviation between "
        "trainings in logits; 0.1 is about 0.01 Dice. `Wilcoxon`: share in which the test of the case means "
        "rejects, %.",
    ),
}


def rate(count: int, simulations: int) -> tuple[float, float]:
    """A share and its standard error, in percent.

    Example:
        >>> rate(50, 100)
        (50.0, 5.0)
    """
    share = count / simulations
    return 100 * share, 100 * math.sqrt(share * (1 - share) / simulations)


def text_tables(result: Mapping[str, Any]) -> str:
    """All tables for a terminal."""
    return "\n\n".join(f"{title}\n" + "\n".join(_rows(result, name)) for name, (title, _) in TABLES.items())


def markdown_page(result: Mapping[str, Any]) -> str:
    """The page docs/results/coverage.md, every number of it from `result`."""
    settings = result["settings"]
    lines = [
        "# Coverage of the intervals, errors of the tests",
        "",
        "<!-- Written by benchmarks/interval_coverage.py --markdown; do not edit. -->",
        "",
        "Simulated Dice, skewed to the left, of patients with one case or several. docs/evaluation.md says",
        "what follows from it, benchmarks/README.md how the scores are made.",
        "",
        f"- Simulations: {settings['simulations']} for each line, {settings['resamples']} bootstrap samples "
        f"in each interval, seed {settings['seed']}.",
        "- Standard errors of the simulation are given as ±.",
        *machine_lines(result["hardware"]),
    ]
    for name, (title, words) in TABLES.items():
        lines += ["", f"## {title}", "", words, "", *_rows(result, name)]
    return "\n".join(lines) + "\n"


def _rows(result: Mapping[str, Any], table: str) -> Iterator[str]:
    lines = [line for line in result["lines"] if line["table"] == table]
    names = [*lines[0]["setting"], *lines[0]["counts"]]
    yield "| " + " | ".join(names) + " |"
    yield "|---" * len(names) + "|"
    for line in lines:
        cells = [str(value) for value in line["setting"].values()]
        for count in line["counts"].values():
            share, error = rate(count, line["simulations"])
            cells.append(f"{share:.1f} ± {error:.1f}")
        yield "| " + " | ".join(cells) + " |"
