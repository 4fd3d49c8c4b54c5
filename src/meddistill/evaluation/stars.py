"""The stars of a table: how seldom chance alone makes such a difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meddistill.evaluation.compare import Comparison

LIMITS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
"""Adjusted p-values below each limit get these marks."""


def stars(p_holm: float) -> str:
    """One star under 0.05, two under 0.01, three under 0.001; nothing for NaN.

    Example:
        >>> stars(0.2), stars(0.03), stars(0.0005), stars(float("nan"))
        ('', '*', '***', '')
    """
    return next((mark for limit, mark in LIMITS if p_holm < limit), "")


def legend(comparison: Comparison) -> str:
    """What the stars mean, in one sentence; nothing where no row has any.

    Example:
        >>> from meddistill.evaluation.compare import Comparison
        >>> legend(Comparison("iid", ("dice",), "px", rows=(), tests=()))
        ''
    """
    if not any(stars(test.p_mean_holm) for test in comparison.tests if test.against == comparison.baseline):
        return ""
    limits = ", ".join(f"{mark} below {limit:g}" for limit, mark in reversed(LIMITS))
    return f"Stars mark the Holm-adjusted p of the difference from {comparison.baseline}: {limits}."
