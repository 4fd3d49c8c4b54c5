import math

import numpy as np
import pytest

from meddistill.errors import ConfigError, RunError
from meddistill.evaluation import CLASS_METRICS, compare_answers, rank_biserial
from meddistill.evaluation.answer_comparison import ANSWER_METRICS
from meddistill.evaluation.class_metrics import class_metric
from meddistill.evaluation.measured import Measured
from tests.evaluation.answer_tables import changed, table


def value(name, given):
    measured = Measured(given)
    return class_metric(name).of(measured, measured.ones)


def better(given, share=0.5):
    """The same images, with the probabilities moved towards the truth."""
    truth = given.labels if given.task == "multi_label" else np.eye(len(given.class_names))[given.labels]
    return changed(given, probabilities=(1 - share) * given.probabilities + share * truth)


@pytest.mark.parametrize("several", [False, True])
def test_rows_hold_every_metric_of_every_row(several):
    base = table(60, 3, several=several)
    found = compare_answers({"alone": base, "kd": better(base)}, baseline="alone", resamples=100)
    assert (found.method, found.metrics) == ("bootstrap", ANSWER_METRICS)
    for row in found.rows:
        given = base if row.row == "alone" else better(base)
        assert row.mean == pytest.approx(value(row.metric, given))
        assert row.low <= row.mean <= row.high
        assert (row.seeds, row.cases) == (1, 60)
        assert math.isnan(row.seed_sd)
    assert len(found.rows) == 2 * len(ANSWER_METRICS)
    assert {test.better for test in found.tests if test.metric != "ece"} == {True}


def test_a_clear_difference_is_shown_and_no_difference_is_not():
    base = table(80, 2, skill=1.0)
    found = compare_answers(
        {"alone": base, "same": base, "kd": better(base)},
        baseline="alone",
        metrics=["auroc", "brier"],
        resamples=400,
    )
    tests = {(test.row, test.metric): test for test in found.tests}
    assert tests["same", "auroc"].p_value == 1
    assert tests["same", "auroc"].mean_difference == 0
    assert tests["kd", "auroc"].p_holm < 0.05
    assert tests["kd", "brier"].effect_size == -1
    assert math.isnan(tests["kd", "auroc"].effect_size)
    assert "Bootstrap test" in found.to_markdown()
    assert "AUROC ↑" in found.to_markdown()


def test_seeds_are_averaged_and_compared_one_by_one():
    base = [table(50, 2, seed=seed) for seed in (0, 0)]
    noisy = [better(base[0], 0.2), better(base[0], 0.6)]
    found = compare_answers({"alone": base, "kd": noisy}, baseline="alone", metrics=["brier"], resamples=50)
    means = [value("brier", one) for one in noisy]
    kd = next(row for row in found.rows if row.row == "kd")
    assert kd.mean == pytest.approx(np.mean(means))
    assert kd.seed_sd == pytest.approx(np.std(means, ddof=1))
    [test] = found.tests
    assert test.mean_difference == pytest.approx(np.mean(means) - value("brier", base[0]))


def test_the_effect_counts_groups_and_not_images():
    base = table(40, 2, group_size=4)
    other = better(base, 0.3)
    [test] = compare_answers({"a": base, "b": other}, baseline="a", metrics=["brier"], resamples=20).tests
    difference = (Measured(other).brier - Measured(base).brier).reshape(10, 4).mean(axis=1)
    assert test.effect_size == pytest.approx(rank_biserial(difference))


def test_the_order_of_images_does_not_matter():
    base = table(30, 3)
    mixed = base.take(np.random.default_rng(0).permutation(30))
    found = compare_answers({"a": base, "b": mixed}, baseline="a", metrics=list(CLASS_METRICS), resamples=10)
    assert all(test.mean_difference == 0 for test in found.tests)


def test_all_pairs():
    base = table(20, 2)
    found = compare_answers(
        dict.fromkeys("abc", base), baseline="a", metrics=["auroc"], pairs="all", resamples=5
    )
    assert [(test.row, test.against) for test in found.tests] == [("b", "a"), ("c", "a"), ("c", "b")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.take(range(10)), "scored on different images, 10 in all, first case 010"),
        (lambda t: changed(t, labels=1 - t.labels), "against different labels"),
        (lambda t: changed(t, class_names=("x", "y")), "have other classes: kind 0, kind 1 and x, y"),
    ],
)
def test_runs_that_cannot_be_compared(change, message):
    base = table(20, 2)
    with pytest.raises(RunError, match=message):
        compare_answers({"a": base, "b": change(base)}, baseline="a")


def test_wrong_arguments(tmp_path):
    base = table(20, 2)
    with pytest.raises(RunError, match="baseline: unknown row 'c'"):
        compare_answers({"a": base}, baseline="c")
    with pytest.raises(ConfigError, match="unknown metric of classification 'dice'"):
        compare_answers({"a": base}, baseline="a", metrics=["dice"])
    with pytest.raises(RunError, match="row b has no runs"):
        compare_answers({"a": base, "b": []}, baseline="a")
    with pytest.raises(RunError, match="is missing: evaluate the run first"):
        compare_answers({"a": base, "b": tmp_path}, baseline="a")
