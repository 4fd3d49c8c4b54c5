import re
from dataclasses import replace

import pytest

from meddistill.evaluation.compare import Comparison
from meddistill.report import ComparedRun, write_comparison
from meddistill.report.comparison_sentences import sentences
from tests.report.builders import MEANS, build_comparison
from tests.report.markup import check_accessible_and_alone


@pytest.fixture
def runs(tmp_path):
    made = []
    for row in MEANS:
        for seed in range(2):
            folder = tmp_path / "study" / "runs" / f"{row} s{seed}"
            folder.mkdir(parents=True)
            if row != "cpl":
                (folder / "report.html").write_text("a report")
            made.append(ComparedRun(row, seed, folder, seconds=600 + 60 * seed, parameters=487_201))
    return made


@pytest.fixture
def source(tmp_path, runs):
    output = tmp_path / "study" / "report.html"
    config = "name: <b>busi</b>"
    written = write_comparison(
        "P-CD on BUSI & more",
        build_comparison(),
        output,
        runs=runs,
        command="meddistill study x",
        config=config,
    )
    assert written == output
    return output.read_text(encoding="utf-8")


def rows_of(source, table):
    """The text of each row of a table, single-spaced."""
    body = source.partition(f'id="{table}"')[2].partition("</table>")[0].partition("<tbody>")[2]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)).strip() for row in rows]


def test_the_page_stands_alone(source):
    page = check_accessible_and_alone(source)
    assert page.all("h1")[0].text == "P-CD on BUSI & more"
    assert any(code.text == "name: <b>busi</b>" for code in page.all("code"))
    assert any(code.text == "meddistill study x" for code in page.all("code"))


def test_the_score_table_shows_mean_interval_spread_stars_and_cost(source):
    rows = rows_of(source, "score-table")
    assert len(rows) == 6
    assert rows[0].startswith("iid (baseline) 0.781 0.751 to 0.811 sd 0.004, 100 cases 0.672")
    assert rows[0].endswith("3 10.5 min 487 k")
    assert rows[3].startswith("tpl_uncert 0.812 *** 0.782 to 0.842 sd 0.004, 100 cases")
    assert rows[4].startswith("cpl 0.764 * worse 0.734 to 0.794")


def test_the_first_metric_is_put_in_sentences(source):
    page = check_accessible_and_alone(source)
    sentences = [item.text for item in page.all("li")]
    assert sentences[0].startswith(
        "kd: no clear difference from iid in Dice (+0.005, 95 % CI −0.005 to +0.015"
    )
    assert sentences[2].startswith("tpl_uncert: better than iid in Dice")
    assert sentences[3].startswith("cpl: worse than iid in Dice")


def test_many_rows_are_named_together_by_what_is_said_of_them():
    comparison = build_comparison()
    few = sentences(comparison)
    assert len(few) == 5
    tests = [
        replace(test, row=f"{test.row}_{number}", mean_difference=test.mean_difference * number)
        for test in comparison.tests
        for number in (1, 2)
    ]
    many = sentences(replace(comparison, tests=tuple(tests)))
    assert [sentence.partition(":")[0] for sentence in many] == [
        "Better than iid in Dice",
        "No clear difference from iid in Dice",
        "Worse than iid in Dice",
    ]
    assert many[0].startswith("Better than iid in Dice: tpl_uncert_2 (+0.062), cpl_tpl_2 (+0.044), tpl_2")
    named = [name for sentence in many for name in re.findall(r"(\w+) \(", sentence)]
    assert sorted(named) == sorted({test.row for test in tests})


def test_the_tests_table_reads_every_test(source):
    rows = rows_of(source, "test-table")
    assert len(rows) == 20
    assert rows[0].startswith("kd iid Dice +0.005 −0.005 to +0.015 0.4100 0.1367")
    assert rows[0].endswith("100 no clear difference")
    assert rows[13].startswith("cpl iid HD95 (px) +0.68")
    assert rows[13].endswith("worse")


def test_the_stars_are_explained(source):
    assert "less than 5 times in 100" in source
    assert "not that there is none" in source


def test_there_is_a_forest_plot_for_every_metric(source):
    page = check_accessible_and_alone(source)
    labels = [svg.attributes["aria-label"] for svg in page.all("svg", **{"class": "drawing"})]
    assert len(labels) == 4
    assert "tpl_uncert 0.812 (0.782 to 0.842)" in re.sub(r"\s", " ", labels[0])


def page_of(comparison, tmp_path):
    source = write_comparison("Page", comparison, tmp_path / "page.html").read_text(encoding="utf-8")
    return source, check_accessible_and_alone(source)


def test_intervals_over_seeds_qualify_what_is_shown(tmp_path):
    whole = build_comparison()
    rows = tuple(replace(row, seeds_low=row.low - 0.1, seeds_high=row.high + 0.1) for row in whole.rows)
    tests = tuple(replace(test, seeds_low=-0.2, seeds_high=0.3) for test in whole.tests)
    source, page = page_of(replace(whole, rows=rows, tests=tests), tmp_path)
    sentences = [item.text for item in page.all("li")]
    assert sentences[0].startswith("kd: no clear difference from iid in Dice (")
    assert sentences[2].startswith("tpl_uncert: better than iid in Dice with these seeds (")
    assert "over seeds 0.651 to 0.911" in rows_of(source, "score-table")[0]
    assert "over seeds −0.200 to +0.300" in rows_of(source, "test-table")[0]
    assert rows_of(source, "test-table")[2].endswith("better with these seeds")
    assert "what other trainings would give" in source


def test_without_intervals_over_seeds_nothing_is_said_of_other_trainings(source):
    assert "over seeds −" not in source
    assert "what other trainings would give" not in source


def test_the_sign_flip_test_decides_and_wilcoxon_stands_beside_it(tmp_path):
    whole = build_comparison()
    tests = tuple(replace(test, p_sign_flip=0.3, p_sign_flip_holm=0.6) for test in whole.tests)
    source, _ = page_of(replace(whole, tests=tests), tmp_path)
    row = rows_of(source, "test-table")[2]
    assert row.startswith("tpl_uncert iid Dice +0.031 +0.021 to +0.041 0.6000 0.3000 0.0004")
    assert row.endswith("no clear difference")


def test_a_margin_has_its_sentences(tmp_path):
    _, page = page_of(build_comparison().with_margin(0.01), tmp_path)
    sentences = [item.text for item in page.all("li")]
    assert len(sentences) == 10
    assert sentences[5].startswith(
        "kd against iid in Dice: not worse by more than 0.01: shown (95 % CI −0.005 to +0.015)"
    )
    assert "cpl against iid in Dice: not worse by more than 0.01: not shown" in sentences[8]


def test_few_cases_and_seeds_are_warned_of(tmp_path, source):
    assert "Few groups" not in source
    whole = build_comparison(seeds=1)
    rows = tuple(replace(row, groups=9) for row in whole.rows)
    _, page = page_of(replace(whole, rows=rows), tmp_path)
    [notice] = [item.text for item in page.all("p", **{"class": "notice"})]
    assert notice.startswith("Few groups (9, fewer than 20)")
    assert "One seed" in notice


def test_links_are_relative_and_lead_to_reports_that_exist(source):
    page = check_accessible_and_alone(source)
    links = [link for a in page.all("a") if (link := a.attributes["href"]).endswith("report.html")]
    assert len(links) == 10
    assert links[0] == "runs/iid%20s0/report.html"
    assert sum(row.startswith("cpl ") and "not written" in row for row in rows_of(source, "run-table")) == 2


def test_one_seed_has_no_spread_and_one_row_no_tests(tmp_path):
    whole = build_comparison(seeds=1)
    rows = tuple(row for row in whole.rows if row.row == "iid")
    lonely = Comparison("iid", whole.metrics, "px", rows, ())
    source = write_comparison("One", lonely, tmp_path / "one.html").read_text(encoding="utf-8")
    check_accessible_and_alone(source)
    assert "sd 0" not in source
    assert "one row only" in source
    assert rows_of(source, "score-table")[0].endswith("1 – –")
