import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import f, rankdata

from meddistill.errors import DataError
from meddistill.evaluation.case_scores import CaseScores, case_scores, has_cases
from meddistill.evaluation.ranks import alike, critical_difference, friedman_p, mean_ranks, rank_rows

from .answer_tables import table as answers
from .tables import table

C45 = """
0.763 0.768 0.771 0.798 / 0.599 0.591 0.590 0.569 / 0.954 0.971 0.968 0.967 / 0.628 0.661 0.654 0.657 /
0.882 0.888 0.886 0.898 / 0.936 0.931 0.916 0.931 / 0.661 0.668 0.609 0.685 / 0.583 0.583 0.563 0.625 /
0.775 0.838 0.866 0.875 / 1.000 1.000 1.000 1.000 / 0.940 0.962 0.965 0.962 / 0.619 0.666 0.614 0.669 /
0.972 0.981 0.9751 0.975 / 0.957 0.978 0.946 0.970
"""
DEMSAR = np.array([[float(number) for number in line.split()] for line in C45.split("/")]).T
"""Table 6 of Demsar (2006): AUC of four classifiers on 14 data sets."""


def scores(values, groups=None):
    """Case scores of one seed a row."""
    values = {row: np.asarray(one, float)[None] for row, one in values.items()}
    names = np.array([f"c{place}" for place in range(next(iter(values.values())).shape[1])])
    return CaseScores("dice", True, names, names if groups is None else np.array(groups), values)


def test_the_worked_example_of_the_paper():
    """Section 3.2.4: not all ranks are alike, but the largest gap of 1.18 is below the difference of 1.25."""
    assert mean_ranks(DEMSAR).round(3).tolist() == [3.143, 2.0, 2.893, 1.964]
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    found = rank_rows(scores(dict(zip(("C4.5", "+m", "+cf", "+m+cf"), DEMSAR, strict=True))), "C4.5")
    assert found.differ
    assert found.alike == (("+m+cf", "+m", "+cf", "C4.5"),)


def test_the_friedman_test_is_a_two_way_analysis_of_variance_of_the_ranks():
    """Conover, Practical Nonparametric Statistics, section 5.8: so F counts equal scores rightly."""
    ranks = rankdata(DEMSAR, axis=0)
    between = 14 * ((ranks.mean(axis=1) - 2.5) ** 2).sum()
    rest = ((ranks - ranks.mean(axis=1, keepdims=True)) ** 2).sum()
    assert friedman_p(DEMSAR) == pytest.approx(f.sf((between / 3) / (rest / 39), 3, 39))


def test_critical_values_are_those_of_the_papers_table():
    """Table 5a: q at 0.05 for 2 to 10 rows."""
    table_5a = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    for rows, q in enumerate(table_5a, start=2):
        assert critical_difference(rows, 1) / np.sqrt(rows * (rows + 1) / 6) == pytest.approx(q, abs=1e-3)


def test_rows_that_the_test_does_not_tell_apart_are_one_set():
    rng = np.random.default_rng(0)
    found = rank_rows(scores({name: rng.normal(size=30) for name in "abcd"}), "a")
    assert not found.differ
    assert [set(rows) for rows in found.alike] == [set("abcd")]


def test_a_row_that_always_wins_stands_alone():
    base = np.random.default_rng(0).uniform(0.3, 0.6, 40)
    jitter = np.random.default_rng(1).normal(size=40) / 100
    found = rank_rows(scores({"iid": base, "same": base + jitter, "kd": base + 0.3}), "iid")
    assert found.rows[0] == "kd"
    assert found.mean_ranks[0] == 1.0
    assert found.alike == (tuple(found.rows[1:]),)
    by_row = dict(zip(found.rows, found.p_holm, strict=True))
    assert by_row["kd"] < 0.001 < 0.05 < by_row["same"]
    assert np.isnan(by_row["iid"])


def test_groups_are_ranked_and_not_their_cases():
    values = {"a": [0.9, 0.1, 0.5, 0.5], "b": [0.5, 0.4, 0.6, 0.6], "c": [0.1, 0.2, 0.7, 0.7]}
    found = rank_rows(scores(values, groups=["p", "p", "q", "q"]), "a")
    assert found.groups == 2
    assert dict(zip(found.rows, found.mean_ranks, strict=True)) == {"a": 2.0, "b": 2.0, "c": 2.0}


def test_cases_that_a_row_lacks_are_left_out():
    values = {"a": [0.9, np.nan, 0.5], "b": [0.5, 0.4, 0.6], "c": [0.1, 0.2, 0.7]}
    assert rank_rows(scores(values), "a").groups == 2


def test_two_rows_or_one_case_are_not_ranked():
    assert rank_rows(scores({"a": [0.1, 0.2], "b": [0.3, 0.4]}), "a") is None
    assert rank_rows(scores({"a": [0.1], "b": [0.3], "c": [0.2]}), "a") is None


def test_where_all_cases_agree_p_is_that_of_equal_orders():
    assert friedman_p([[1, 1], [2, 2], [3, 3]]) == pytest.approx(1 / 6)
    assert friedman_p(np.ones((3, 5))) == 1.0
    with pytest.raises(DataError, match="three rows and two blocks"):
        friedman_p([[1, 2], [3, 4]])


@given(arrays(float, (4, 7), elements=st.floats(0, 1)))
def test_mean_ranks_add_up_and_turn_round(blocks):
    ranks = mean_ranks(blocks)
    assert ranks.sum() == pytest.approx(10)
    assert np.allclose(ranks + mean_ranks(blocks, higher_is_better=False), 5)


@given(st.lists(st.floats(1, 9), min_size=1, max_size=8), st.floats(0, 3))
def test_runs_hold_what_lies_within_the_distance_and_none_lies_in_another(ranks, distance):
    ranks = sorted(ranks)
    runs = alike(ranks, distance)
    assert all(ranks[last] <= ranks[first] + distance for first, last in runs)
    joined = {(a, b) for first, last in runs for a in range(first, last) for b in range(a + 1, last + 1)}
    close = {(a, b) for b in range(len(ranks)) for a in range(b) if ranks[b] <= ranks[a] + distance}
    assert joined == close
    assert not any(a != b and a[0] <= b[0] and b[1] <= a[1] for a in runs for b in runs)


def test_null_rows_are_told_apart_in_one_of_twenty():
    rng = np.random.default_rng(0)
    rejected = np.mean([friedman_p(rng.normal(size=(4, 12))) < 0.05 for _ in range(400)])
    assert 0.03 <= rejected <= 0.07


def test_case_scores_follow_the_ids_and_average_seeds():
    found = case_scores({"a": [table([0.2, 0.4]), table([0.6, 0.8])], "b": [table([0.5, 0.1])]}, "dice")
    assert found.cases.tolist() == ["c0", "c1"]
    assert found.values["a"].shape == (2, 2)
    assert found.means.round(3).tolist() == [[0.4, 0.6], [0.5, 0.1]]


def test_of_answers_only_some_metrics_belong_to_single_images():
    tables = {"a": [answers(12)], "b": [answers(12, seed=1)]}
    assert has_cases("brier", tables)
    assert not has_cases("auroc", tables)
    found = case_scores(tables, "accuracy")
    assert set(np.unique(found.means)) <= {0.0, 1.0}
