import csv
import io
import json
import math

import numpy as np
import pytest

from meddistill.errors import ConfigError, RunError
from meddistill.evaluation import ScoreTable, compare_runs, holm, mean_ci, paired_test
from meddistill.training.run_folder import RunFolder

from .tables import row, table

RNG = np.random.default_rng(0)
BASE = RNG.uniform(0.3, 0.6, 12)


def runs():
    return {
        "IID": [table(BASE), table(BASE + 0.02), table(BASE - 0.02)],
        "KD": [table(BASE + 0.1 + RNG.normal(0, 0.02, 12)) for _ in range(3)],
        "P-CD": [table(BASE + 0.2 + RNG.normal(0, 0.02, 12)) for _ in range(3)],
    }


def find(items, **wanted):
    [item] = [item for item in items if all(getattr(item, key) == value for key, value in wanted.items())]
    return item


def test_seeds_are_averaged_per_case_before_anything_else():
    given = runs()
    comparison = compare_runs(given, baseline="IID", metrics=["dice", "hd95"])
    means = np.mean([seed["dice"] for seed in given["KD"]], axis=0)
    found = find(comparison.rows, row="KD", metric="dice")
    assert found.mean == pytest.approx(means.mean())
    assert (found.low, found.high) == pytest.approx(mean_ci(means))
    assert (found.seeds, found.cases) == (3, 12)
    expected_sd = np.std([seed["dice"].mean() for seed in given["KD"]], ddof=1)
    assert found.seed_sd == pytest.approx(expected_sd)
    assert find(comparison.rows, row="IID", metric="dice").mean == pytest.approx(BASE.mean())


def test_more_seeds_do_not_change_the_mean_where_a_score_is_sometimes_undefined():
    """A normal image is undefined when left empty and 0 when not: each run counts with its own mean."""
    empty = ScoreTable.from_rows([row("a", dice=0.8), row("b", dice=0.6), row("n", dice=np.nan)])
    alarm = ScoreTable.from_rows([row("a", dice=0.8), row("b", dice=0.6), row("n", dice=0.0)])
    comparison = compare_runs({"one": alarm, "two": [empty, alarm]}, baseline="one", metrics=["dice"])
    one, two = (find(comparison.rows, row=name, metric="dice") for name in ("one", "two"))
    assert one.mean == pytest.approx(1.4 / 3)
    assert two.mean == pytest.approx((0.7 + 1.4 / 3) / 2)
    [test] = comparison.tests
    assert test.mean_difference == pytest.approx(0.0)


def test_seeds_are_paired_in_their_order():
    first = [ScoreTable.from_rows([row("n", dice=np.nan)]), ScoreTable.from_rows([row("n", dice=0.2)])]
    second = [ScoreTable.from_rows([row("n", dice=0.9)]), ScoreTable.from_rows([row("n", dice=0.3)])]
    [test] = compare_runs({"a": first, "b": second}, baseline="a", metrics=["dice"]).tests
    assert test.mean_difference == pytest.approx(0.1)


def test_tests_compare_case_means_with_the_baseline_and_holm_corrects_per_metric():
    given = runs()
    comparison = compare_runs(given, baseline="IID", metrics=["dice", "ece"])
    averaged = {
        name: np.mean([seed["dice"] for seed in seeds], axis=0)[np.argsort(seeds[0]["case"])]
        for name, seeds in given.items()
    }
    expected = [paired_test(averaged[name], averaged["IID"]) for name in ("KD", "P-CD")]
    found = [find(comparison.tests, row=name, metric="dice") for name in ("KD", "P-CD")]
    assert [test.p_value for test in found] == pytest.approx([test.p_value for test in expected])
    assert [test.p_holm for test in found] == pytest.approx(holm([test.p_value for test in expected]))
    assert [test.p_mean for test in found] == [test.p_sign_flip for test in expected]
    assert [test.p_mean_holm for test in found] == holm([test.p_sign_flip for test in expected])
    assert [test.mean_difference for test in found] == pytest.approx([t.mean_difference for t in expected])
    assert all(test.better and test.against == "IID" for test in found)
    assert find(comparison.tests, row="KD", metric="ece").p_holm == 1.0


def test_intervals_over_seeds_are_wider_where_trainings_differ():
    """Rows that differ by one lucky seed: shown for these seeds, not for others."""
    lucky = {
        "IID": [table(BASE + shift) for shift in (0.0, 0.001, 0.002)],
        "KD": [table(BASE + shift + RNG.normal(0, 0.002, 12)) for shift in (0.01, 0.02, 0.25)],
    }
    comparison = compare_runs(lucky, baseline="IID", metrics=["dice"])
    [test] = comparison.tests
    assert test.seeds_low < 0 < test.low < test.high < test.seeds_high
    assert test.significant
    assert test.these_seeds_only
    steady, kd = (find(comparison.rows, row=name) for name in ("IID", "KD"))
    assert (steady.seeds_low, steady.seeds_high) == pytest.approx((steady.low, steady.high), abs=1e-3)
    assert kd.seeds_high - kd.seeds_low > 1.5 * (kd.high - kd.low)
    assert "KD, these seeds |" in comparison.to_markdown()
    shown = compare_runs(runs(), baseline="IID", metrics=["dice"])
    assert not any(test.these_seeds_only for test in shown.tests)


def test_rows_with_other_numbers_of_seeds_count_the_spread_of_both():
    given = runs()
    fewer = compare_runs({"IID": given["IID"], "KD": given["KD"][:2]}, baseline="IID", metrics=["dice"])
    [test] = fewer.tests
    iid, kd = (find(fewer.rows, row=name) for name in ("IID", "KD"))
    added = [(row.mean - row.seeds_low) ** 2 - (row.mean - row.low) ** 2 for row in (iid, kd)]
    expected = (test.mean_difference - test.low) ** 2 + sum(added)
    assert (test.mean_difference - test.seeds_low) ** 2 == pytest.approx(expected)


def test_one_seed_has_no_interval_over_seeds():
    single = {name: seeds[:1] for name, seeds in runs().items()}
    comparison = compare_runs(single, baseline="IID", metrics=["dice"])
    assert all(math.isnan(item.seeds_low) for item in (*comparison.rows, *comparison.tests))
    assert not any(test.these_seeds_only for test in comparison.tests)
    assert "| over seeds |" not in comparison.to_markdown()


def test_groups_are_counted_where_the_metric_is_defined():
    tables = [
        ScoreTable.from_rows([row("a", x, group="p"), row("b", x, group="p"), row("c", x, group="q")])
        for x in (0.4, 0.5)
    ]
    comparison = compare_runs({"a": tables[0], "b": tables[1]}, baseline="a", metrics=["dice"])
    assert {item.groups for item in (*comparison.rows, *comparison.tests)} == {2}


def test_a_margin_judges_the_first_metric_against_the_baseline():
    comparison = compare_runs(runs(), baseline="P-CD", metrics=["dice", "hd95"])
    assert comparison.margins == ()
    judged = comparison.with_margin(0.3)
    assert [(m.row, m.against, m.metric, m.not_worse) for m in judged.margins] == [
        ("IID", "P-CD", "dice", "shown"),
        ("KD", "P-CD", "dice", "shown"),
    ]
    narrow = comparison.with_margin(0.01)
    assert [m.not_worse for m in narrow.margins] == ["worse", "worse"]
    assert "IID - P-CD in Dice: not worse by more than 0.01: worse (95 % CI from " in narrow.to_markdown()
    assert narrow.to_dict()["margins"][0]["margin"] == 0.01


def test_all_pairs_are_tested_on_request():
    comparison = compare_runs(runs(), baseline="IID", metrics=["dice"], pairs="all")
    assert [(t.row, t.against) for t in comparison.tests] == [("KD", "IID"), ("P-CD", "IID"), ("P-CD", "KD")]
    worst = max(test.p_value for test in comparison.tests)
    assert all(test.p_holm >= min(1, worst) or test.p_holm >= test.p_value for test in comparison.tests)


def test_better_follows_the_direction_of_the_metric():
    low = ScoreTable.from_rows(row(f"c{i}", hd95=1.0 + i, dice=0.5) for i in range(6))
    high = ScoreTable.from_rows(row(f"c{i}", hd95=2.5 + i, dice=0.6) for i in range(6))
    tests = compare_runs({"a": low, "b": high}, baseline="a", metrics=["dice", "hd95"]).tests
    assert [(test.metric, test.better) for test in tests] == [("dice", True), ("hd95", False)]


def test_the_order_of_cases_does_not_matter():
    given = runs()
    shuffled = {
        name: [ScoreTable({key: column[::-1] for key, column in seed.columns.items()}) for seed in seeds]
        for name, seeds in given.items()
    }
    mixed = {"IID": given["IID"], "KD": shuffled["KD"], "P-CD": [given["P-CD"][0], *shuffled["P-CD"][1:]]}
    assert compare_runs(mixed, baseline="IID").to_dict() == compare_runs(given, baseline="IID").to_dict()


def test_cases_undefined_in_one_row_are_left_out_of_the_pairs_only():
    empty = ScoreTable.from_rows([row("c0", state="both_empty"), row("c1", 0.5), row("c2", 0.6)])
    full = ScoreTable.from_rows([row("c0", state="false_alarm"), row("c1", 0.4), row("c2", 0.5)])
    comparison = compare_runs({"a": empty, "b": full}, baseline="a", metrics=["dice", "dice_both_empty_1"])
    assert [r.cases for r in comparison.rows if r.metric == "dice"] == [2, 3]
    assert find(comparison.tests, metric="dice").cases == 2
    assert find(comparison.tests, metric="dice_both_empty_1").mean_difference == pytest.approx(-1.2 / 3)


def test_different_cases_are_refused_by_name():
    with pytest.raises(RunError, match=r"rows a and b .* 2 in all, first c2 \(lesion\), c3 \(lesion\)"):
        compare_runs({"a": table([0.1, 0.2]), "b": table([0.1, 0.2, 0.3, 0.4])}, baseline="a")
    with pytest.raises(RunError, match="rows a and a"):
        compare_runs({"a": [table([0.1]), table([0.1, 0.2])]}, baseline="a")


def test_other_misuse_is_one_line():
    good = table([0.1, 0.2])
    with pytest.raises(RunError, match="baseline: unknown row 'iid'; did you mean 'IID'"):
        compare_runs({"IID": good}, baseline="iid")
    with pytest.raises(RunError, match="row b has no runs"):
        compare_runs({"a": good, "b": []}, baseline="a")
    with pytest.raises(RunError, match="different units"):
        compare_runs({"a": good, "b": table([0.1, 0.2], unit="mm")}, baseline="a")
    with pytest.raises(ConfigError, match="unknown metric 'dicee'"):
        compare_runs({"a": good}, baseline="a", metrics=["dicee"])


def test_run_folders_are_read(tmp_path):
    for name, shift in (("iid", 0.0), ("kd", 0.1)):
        table(BASE + shift).write_csv(RunFolder(tmp_path / name).scores("selection"))
    comparison = compare_runs(
        {"iid": tmp_path / "iid", "kd": [str(tmp_path / "kd")]}, baseline="iid", split="selection"
    )
    assert find(comparison.tests, metric="dice").mean_difference == pytest.approx(0.1)
    with pytest.raises(RunError, match=r"test-scores\.csv is missing: evaluate the run first"):
        compare_runs({"iid": tmp_path / "iid"}, baseline="iid")


def test_markdown_says_what_a_reader_needs():
    text = compare_runs(runs(), baseline="IID", metrics=["dice", "hd95", "ece"]).to_markdown()
    lines = text.splitlines()
    assert lines[0] == "| row | seeds | Dice ↑ | HD95 (px) ↓ | ECE ↓ |"
    assert lines[2].startswith(f"| IID | 3 | {BASE.mean():.4f} [")
    assert "± 0.0200" in lines[2]
    tests = [line for line in lines if line.startswith("| Dice ↑ | P-CD - IID |")]
    assert len(tests) == 1
    assert tests[0].endswith("| 12 | P-CD |")
    assert any(line.startswith("| ECE ↓ | KD - IID |") and line.endswith("| not shown |") for line in lines)


def test_markdown_of_a_single_run_with_an_odd_name():
    text = compare_runs({"a|b": table([0.5])}, baseline="a|b", metrics=["dice"]).to_markdown()
    assert "| a\\|b | 1 | 0.5000 [-, -] |" in text
    assert "Wilcoxon" not in text


def test_csv_and_dict_hold_the_same_numbers():
    comparison = compare_runs(runs(), baseline="IID", metrics=["dice"])
    lines = list(csv.DictReader(io.StringIO(comparison.to_csv())))
    assert [line["row"] for line in lines] == ["IID", "KD", "P-CD"]
    assert lines[0]["p_value"] == ""
    values = comparison.to_dict()
    for line, found in zip(lines[1:], values["tests"], strict=True):
        assert float(line["p_holm"]) == found["p_holm"]
        assert float(line["difference_low"]) == found["low"]
    assert float(lines[1]["mean"]) == values["rows"][1]["mean"]
    assert json.loads(json.dumps(values))["baseline"] == "IID"
    assert not math.isnan(values["rows"][0]["seed_sd"])
