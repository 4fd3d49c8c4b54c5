"""The simulation of intervals and tests, a few times over: what it counts, and that its truth is one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from coverage_tables import TABLES, markdown_page, rate, text_tables
from coverage_task import Cases, gain_for, true_mean
from coverage_trials import Settings, measure

TINY = Settings(sizes=((20, 10),), few=(3,), simulations=4, resamples=50)


@pytest.fixture(scope="module")
def result():
    return json.loads(json.dumps(measure(TINY)))


def test_every_table_has_lines_with_counts_of_all_simulations(result):
    assert {line["table"] for line in result["lines"]} == set(TABLES)
    for line in result["lines"]:
        assert line["simulations"] == 4
        assert all(0 <= count <= 4 for count in line["counts"].values())
    [mean, _] = [line for line in result["lines"] if line["table"] == "mean"]
    counts = mean["counts"]
    assert counts["reported"] + counts["truth below"] + counts["truth above"] == 4


def test_the_same_seed_gives_the_same_counts(result):
    assert json.loads(json.dumps(measure(TINY)))["lines"] == result["lines"]


def test_the_true_mean_is_that_of_many_cases():
    rng = np.random.default_rng(0)
    drawn = Cases.draw(rng, 200_000, 100_000)
    assert len(np.unique(drawn.groups)) == 100_000
    assert drawn.run(rng, drawn.method(rng)).mean() == pytest.approx(true_mean(), abs=0.002)
    gain = gain_for(true_mean() - 0.05)
    assert drawn.run(rng, drawn.method(rng, gain=gain)).mean() == pytest.approx(true_mean() - 0.05, abs=0.002)
    assert np.mean(drawn.run(rng, drawn.method(rng), missed=0.1) == 0) == pytest.approx(0.1, abs=0.003)


def test_trainings_differ_by_their_spread():
    drawn = Cases.draw(np.random.default_rng(1), 60, 20)
    method = np.zeros(60)
    alike = drawn.seeds(np.random.default_rng(2), method, 40, 0.0).mean(axis=1)
    apart = drawn.seeds(np.random.default_rng(2), method, 40, 1.0).mean(axis=1)
    assert apart.std() > 5 * alike.std()


def test_pages_hold_every_line(result):
    page = markdown_page(result)
    assert page.startswith("# Coverage of the intervals")
    assert all(f"## {title}" in page for title, _ in TABLES.values())
    assert page.count("\n| 20 | 10 |") == sum(line["table"] != "few groups" for line in result["lines"])
    assert "±" in text_tables(result)


def test_a_rate_has_its_standard_error():
    assert rate(950, 1000) == pytest.approx((95.0, 0.6892), abs=1e-3)
    assert rate(0, 10) == (0.0, 0.0)
