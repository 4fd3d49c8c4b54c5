"""When there are too few cases or seeds for intervals and tests to be taken at their word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meddistill.evaluation.compare import Comparison

ENOUGH_GROUPS = 20
"""With fewer groups skewed scores mislead: at 10, tests of equal means reject in 9 to 10 % and not in 5
(docs/results/coverage.md)."""

COVERED_GROUPS = 5
"""With fewer groups, 95 % intervals of skewed scores cover less than 93 %."""

TESTABLE_GROUPS = 6
"""With fewer groups no signed-rank or sign-flip test can give p < 0.05: the least is 2 / 2^5."""

ENOUGH_SEEDS = 3
"""With fewer the spread over seeds is hardly known: t has one degree of freedom."""


def few_groups(groups: int) -> str:
    """One sentence when there are too few groups of cases, else nothing.

    Example:
        >>> few_groups(40)
        ''
        >>> few_groups(9)
        'Few groups (9, fewer than 20): where scores are skewed, tests reject too often.'
    """
    if groups >= ENOUGH_GROUPS:
        return ""
    found = f"Few groups ({groups}, fewer than {ENOUGH_GROUPS}): "
    if groups < 2:
        return found + "there are no intervals."
    if groups < COVERED_GROUPS:
        return found + "95 % intervals are too narrow, and no test of pairs can give p < 0.05."
    if groups < TESTABLE_GROUPS:
        return found + "no test of pairs can give p < 0.05."
    return found + "where scores are skewed, tests reject too often."


def few_seeds(seeds: int) -> str:
    """One sentence when a row has too few seeds to say what another training gives, else nothing.

    Example:
        >>> few_seeds(1)
        'One seed: nothing here says what another training would give.'
    """
    if seeds >= ENOUGH_SEEDS:
        return ""
    if seeds == 1:
        return "One seed: nothing here says what another training would give."
    return "Two seeds: their spread is hardly known, so intervals over seeds are very wide."


def cautions(comparison: Comparison) -> list[str]:
    """What a reader is to be warned of: the fewest groups and the fewest seeds that a row has."""
    groups = [row.groups for row in comparison.rows if row.groups]
    seeds = [row.seeds for row in comparison.rows]
    found = [few_groups(min(groups)) if groups else "", few_seeds(min(seeds)) if seeds else ""]
    return [sentence for sentence in found if sentence]


def summary_caution(summary: Mapping[str, Any]) -> str:
    """The sentence of `few_groups` for the summary of a split; nothing where its groups are unknown.

    Example:
        >>> summary_caution({"counts": {"groups": 40}}), summary_caution({})
        ('', '')
    """
    counts = summary.get("counts")
    groups = counts.get("groups") if isinstance(counts, Mapping) else None
    return few_groups(groups) if isinstance(groups, int) else ""
