import numpy as np

from meddistill.evaluation import compare_runs
from meddistill.evaluation.cautions import cautions, few_groups, few_seeds, summary_caution

from .tables import table


def compared(cases, seeds):
    rng = np.random.default_rng(0)
    runs = {name: [table(rng.uniform(0.3, 0.9, cases)) for _ in range(seeds)] for name in ("iid", "kd")}
    return compare_runs(runs, baseline="iid", metrics=["dice"], resamples=50)


def test_enough_cases_and_seeds_need_no_word():
    assert cautions(compared(20, 3)) == []


def test_few_groups_and_few_seeds_are_said_in_the_table_too():
    comparison = compared(19, 1)
    found = cautions(comparison)
    assert [sentence.partition(" (")[0].partition(":")[0] for sentence in found] == ["Few groups", "One seed"]
    assert comparison.to_markdown().endswith("\n".join(found) + "\n")
    assert cautions(compared(20, 2)) == [few_seeds(2)]


def test_the_fewer_the_groups_the_stronger_the_word():
    assert "intervals are too narrow, and no test of pairs can give p < 0.05" in few_groups(4)
    assert few_groups(5).endswith("no test of pairs can give p < 0.05.")
    assert few_groups(6).endswith("tests reject too often.")
    assert "no intervals" in few_groups(1)
    assert few_groups(20) == ""


def test_a_summary_without_counts_has_no_caution():
    assert summary_caution({"counts": None}) == ""
    assert summary_caution({"counts": {"groups": 3}}) == few_groups(3)
