import csv
import re

import pytest

from meddistill.evaluation.case_scores import case_scores
from meddistill.evaluation.ranks import rank_rows
from meddistill.report.rank_parts import rank_diagram
from tests.report.markup import check_accessible_and_alone
from tests.report.study_pages import ROWS, study_page, tables
from tests.report.test_comparison import rows_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return study_page(tmp_path_factory.mktemp("study")).parent


@pytest.fixture(scope="module")
def source(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source):
    return check_accessible_and_alone(source)


def test_every_part_has_its_section_and_link(page):
    sections = [section.attributes["id"] for section in page.all("section")]
    assert sections == [
        "scores", "pictures", "tests", "ranks", "costs", "disputes", "subgroups", "runs", "again"
    ]  # fmt: skip
    links = [link.attributes["href"] for link in page.all("a") if "nav" in link.inside]
    assert links == [f"#{name}" for name in sections]


def test_every_table_is_beside_the_page_as_csv_and_latex(page, folder):
    links = {link.attributes["href"] for link in page.all("a") if "section" in link.inside}
    stems = ("table", "ranks", "costs", "disputes", "subgroups-stratum", "subgroups-size", "runs")
    assert {f"{stem}{ending}" for stem in stems for ending in (".csv", ".tex")} <= links
    assert all((folder / name).is_file() for name in links)
    costs = list(csv.DictReader((folder / "costs.csv").open(encoding="utf-8")))
    assert [line["Row"] for line in costs] == list(ROWS)
    assert float(costs[1]["Parameters"]) == 124_000
    assert costs[2]["MACs"] == ""
    assert r"\begin{tabular}{lrrrrrr}" in (folder / "costs.tex").read_text(encoding="utf-8")


def test_ranks_are_told_in_a_sentence_a_table_and_words_for_the_diagram(page, source):
    words = "In Dice the rows rank differently over 24 groups of cases (Friedman p < 0.0001)"
    assert any(item.text.startswith(words) for item in page.all("p"))
    [diagram] = [
        svg
        for svg in page.all("svg")
        if svg.attributes["aria-label"].startswith("Mean ranks, best first: kd")
    ][:1]
    assert "Critical difference 0.68" in diagram.attributes["aria-label"]
    assert len(rows_of(source, "rank-table")) == 6
    assert rows_of(source, "rank-table")[0].startswith("kd Dice 1.")


def test_the_diagram_of_many_long_names_keeps_them_in_its_words():
    names = [f"a_rather_long_name_of_a_row_{place:02}" for place in range(14)]
    found = rank_rows(case_scores(tables(names), "dice"), names[0])
    picture = rank_diagram(found)
    assert all(name in picture.alt for name in names)
    assert "a_rather_long_n…" in picture.svg


def test_costs_that_vary_are_drawn_and_unknown_ones_are_said(page, source):
    rows = rows_of(source, "cost-table")
    assert rows[0].startswith("student 1 0.")
    assert rows[0].endswith("1.0 min 31 k 9.8 M 2.1 ms")
    assert rows[2].endswith("31 k not recorded 2.1 ms")
    titles = [svg.attributes["aria-label"] for svg in page.all("svg")]
    assert any(title.startswith("1 student: 31 k, 0.") for title in titles)
    assert any(
        re.fullmatch(r"1 student: 9\.8 M, 0\.\d+; 2 teacher: 39\.2 M, 0\.\d+\.", title) for title in titles
    )


def test_disputed_cases_have_a_picture_of_every_row_best_first(page):
    articles = page.all("article")
    assert len(articles) == 3
    captions = [re.sub(r"\s+", " ", text.text) for text in page.all("figcaption") if "article" in text.inside]
    assert captions[0] == "Image"
    scores = [float(caption.split()[-1]) for caption in captions[1:4]]
    assert scores == sorted(scores, reverse=True)
    assert {caption.split()[0] for caption in captions[1:4]} == set(ROWS)
    labels = [svg.attributes["aria-label"] for svg in page.all("svg") if "article" in svg.inside]
    assert re.fullmatch(
        r"(student|teacher|kd) 0\.\d+ of case case \d+ marks \d+ pixels of class 1\.", labels[1]
    )


def test_the_worst_subgroup_of_every_row_is_marked_and_small_ones_are_warned_of(page, source):
    benign, malignant = rows_of(source, "subgroup-table-stratum")
    assert malignant.count("worst") == 3
    assert "worst" not in benign
    assert benign.startswith("benign 16 few 0.")
    assert "0 % failed" in benign
    notices = [item.text for item in page.all("p", **{"class": "notice"})]
    assert any(
        text.startswith("Too few cases to judge by (fewer than 20 groups): benign (16), malignant (8)")
        for text in notices
    )
    sizes = rows_of(source, "subgroup-table-size")
    assert [line.split()[0] for line in sizes] == ["small", "medium", "large"]


def test_what_is_needed_to_make_it_again_is_listed(page):
    facts = dict(zip([e.text for e in page.all("dt")], [e.text for e in page.all("dd")], strict=True))
    assert facts["Seeds"] == "0, 1"
    assert facts["Data fingerprint"] == "abc"
    assert facts["Cases"] == "train 60, test 24"
    assert facts["torch"].startswith("2.0 (student-s0, student-s1); 2.1 (teacher-s0, teacher-s1)")
