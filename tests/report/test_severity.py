"""The curve of a sweep: what of its bands is seen."""

import math

import pytest

from meddistill.evaluation.corrupted_means import CorruptedMean, Robustness
from meddistill.report import severity
from meddistill.report.figures import room_for


def shown(monkeypatch, *means):
    """The limits of the axis of the scores."""
    seen = []
    monkeypatch.setattr(severity, "room_for", lambda values: seen.append(room_for(values)) or seen[-1])
    rows = tuple(dict.fromkeys(mean.row for mean in means))
    severity.severity_curves(Robustness("dice", rows[0], rows, ("fog",), (5,), means, {}, {}))
    return seen[0]


def mean(row, kind, at, value, low, high):
    return CorruptedMean(row, kind, at, value, low, high)


def test_the_bands_are_seen_whole(monkeypatch):
    low, high = shown(
        monkeypatch,
        mean("iid", "clean", 0, 0.7, 0.6, 0.8),
        mean("iid", "all", 5, 0.5, 0.35, 0.6),
        mean("kd", "clean", 0, 0.72, 0.6, 0.85),
        mean("kd", "all", 5, 0.5, 0.4, 0.6),
    )
    assert low < 0.35
    assert high > 0.85


@pytest.mark.parametrize("value", [0.7, math.nan])
def test_scores_without_an_interval_are_drawn_too(monkeypatch, value):
    points = (mean("iid", *place, value, math.nan, math.nan) for place in (("clean", 0), ("all", 5)))
    low, high = shown(monkeypatch, *points)
    assert low < (0.5 if math.isnan(value) else value) < high
