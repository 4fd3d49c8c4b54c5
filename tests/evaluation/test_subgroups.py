import numpy as np
import pytest

from meddistill.evaluation import ScoreTable
from meddistill.evaluation.case_scores import case_scores
from meddistill.evaluation.mean_interval import mean_ci
from meddistill.evaluation.subgroups import divisions, size_thirds, slice_thirds, subgroups

from .answer_tables import table as answers
from .tables import row


def scored(dice, strata="bbbmmm", pixels=(10, 20, 30, 40, 50, 60), **changes):
    return ScoreTable.from_rows(
        row(f"c{place}", value, stratum=stratum, label_pixels=size, **changes)
        for place, (value, stratum, size) in enumerate(zip(dice, strata, pixels, strict=True))
    )


def test_means_and_intervals_are_those_of_the_cases_of_the_subgroup():
    tables = {
        "a": [scored([0.9, 0.8, 0.7, 0.2, 0.4, 0.6]), scored([0.7, 0.8, 0.9, 0.4, 0.4, 0.4])],
        "b": [scored([0.5] * 6)],
    }
    found = {
        (s.kind, s.name, s.row): s for s in subgroups(tables, case_scores(tables, "dice"), resamples=100)
    }
    one = found["stratum", "m", "a"]
    assert one.mean == pytest.approx(0.4)
    assert (one.cases, one.groups, one.failed) == (3, 3, 0.0)
    values = [[0.2, 0.4, 0.6], [0.4, 0.4, 0.4]]
    assert (one.low, one.high) == pytest.approx(mean_ci(values, resamples=100, bounds=(0, 1)))
    assert one.worst
    assert not found["stratum", "b", "a"].worst


def test_the_worst_is_the_highest_where_lower_is_better():
    tables = {"a": [scored([0.5] * 6, hd95=1.0), scored([0.5] * 6, hd95=1.0)]}
    tables = {
        "a": [ScoreTable.from_rows(row(f"c{n}", hd95=float(n), stratum="bm"[n // 3]) for n in range(6))]
    }
    found = subgroups(tables, case_scores(tables, "hd95"), resamples=50)
    assert [(s.name, s.worst) for s in found if s.kind == "stratum"] == [("b", False), ("m", True)]


def test_failures_are_structures_missed_or_invented():
    states = ["ok", "missed", "ok", "false_alarm", "both_empty", "ok"]
    table = ScoreTable.from_rows(
        row(f"c{place}", state=state, stratum="bbbmmm"[place]) for place, state in enumerate(states)
    )
    tables = {"a": [table]}
    found = subgroups(tables, case_scores(tables, "dice_both_empty_1"), resamples=50)
    assert {s.name: s.failed for s in found if s.kind == "stratum"} == pytest.approx({"b": 1 / 3, "m": 1 / 3})


def test_sizes_are_divided_in_thirds_of_the_labelled_cases():
    names = size_thirds([0, 3, 1, 2, 6, 5, 4, 0])
    assert [name.partition(" ")[0] for name in names] == [
        "",
        "medium",
        "small",
        "small",
        "large",
        "large",
        "medium",
        "",
    ]
    assert set(size_thirds([5, 5, 9])) == {""}


def test_slices_are_divided_by_their_number_in_their_own_volume():
    ids = ["p/10", "p/2", "p/1", "q/000", "q/001", "q/002", "q/003", "r/1", "nameless"]
    owners = ["p", "p", "p", "q", "q", "q", "q", "r", "p"]
    thirds = [name.partition(" ")[0] for name in slice_thirds(ids, owners)]
    assert thirds == ["last", "middle", "first", "first", "first", "middle", "last", "", ""]


def test_a_division_into_one_or_very_many_is_none():
    alike = scored([0.5] * 6, strata="bbbbbb", pixels=[7] * 6)
    assert divisions(alike) == {}
    many = ScoreTable.from_rows(row(f"x{n}", stratum=f"s{n}", label_pixels=7) for n in range(13))
    assert divisions(many) == {}


def test_answers_are_divided_by_stratum_and_have_no_missed_structures():
    table = answers(12)
    halves = np.where(np.arange(12) % 2 == 0, "even", "odd")
    known = type(table)(
        table.cases, table.cases, halves, table.labels, table.probabilities, table.class_names
    )
    tables = {"a": [known]}
    found = subgroups(tables, case_scores(tables, "accuracy"), resamples=50)
    assert [s.name for s in found] == ["even", "odd"]
    assert all(np.isnan(s.failed) and s.cases == 6 for s in found)
    assert sum(s.worst for s in found) == 1
