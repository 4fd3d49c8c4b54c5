import pytest

from meddistill.evaluation import compare_answers
from meddistill.evaluation.classification import summarise_answers
from meddistill.files import write_json
from meddistill.report import write_comparison, write_report
from meddistill.report.answers import answers_view, class_table, confusion_picture
from meddistill.report.figures import class_curves
from tests.evaluation.answer_tables import table
from tests.report.builders import build_run
from tests.report.markup import check_accessible_and_alone

HOSTILE = "<b>&'x\""


def summary(given):
    return summarise_answers(given, resamples=20)


def test_every_class_has_a_line_with_its_scores():
    found = summary(table(30, 3))
    lines = class_table(found, "test split")
    assert lines.caption == "Scores of each class, test split"
    assert [row[0].text for row in lines.rows] == ["kind 0", "kind 1", "kind 2"]
    assert [row[1].value for row in lines.rows] == [10, 10, 10]
    position = [column.label for column in lines.columns].index("AUROC")
    for row in lines.rows:
        assert row[position].value == found["classes"][row[0].text]["metrics"]["auroc"]["mean"]
        assert " to" in row[position].note.replace("\N{NO-BREAK SPACE}", " ")


def test_the_confusion_is_told_in_words():
    picture = confusion_picture([[5, 1], [3, 7]], ["well", "sick"])
    assert picture.alt == (
        "Recognised: well 5 of 6, sick 7 of 10. Most often taken for another: sick for well (3 times)."
    )
    assert confusion_picture([[2, 0], [0, 0]], ["a", "b"]).alt == "Recognised: a 2 of 2, b 0 of 0."
    assert confusion_picture([], []) is None


def test_two_classes_share_a_curve_and_labels_have_one_each():
    two = class_curves(summary(table(40, 2)), 6)
    assert two.alt.startswith("Area under the curve: kind 1 0.")
    assert "kind 0" not in two.alt
    several = class_curves(summary(table(40, 2, several=True)), 6)
    assert "kind 0" in several.alt
    many = class_curves(summary(table(80, 8)), 6)
    assert many.alt.endswith("; 2 more are not drawn.")


def test_a_summary_of_maps_has_no_such_view():
    assert answers_view({"metrics": {}}, None, "test split") is None


@pytest.mark.parametrize("several", [False, True])
def test_the_page_of_a_run(tmp_path, several):
    run = build_run(tmp_path / "r", cases=9)
    given = table(20, 2, several=several)
    given = type(given)(**{**vars(given), "class_names": (HOSTILE, "other")})
    run.gallery().unlink()
    given.write_csv(run.scores())
    write_json(run.summary(), summary(given))
    source = write_report(run).read_text(encoding="utf-8")
    page = check_accessible_and_alone(source)
    assert HOSTILE not in source
    assert any(header.text == HOSTILE for header in page.all("th", scope="row"))
    assert page.all("h2", id="gallery-title")[0].text == "Worst errors"
    assert "ECE over all answers" in source
    assert "reaches an AUROC of" in page.all("p", **{"class": "verdict"})[0].text
    assert "How scores are counted" in source


def test_the_page_of_a_comparison_says_how_it_was_tested(tmp_path):
    found = compare_answers({"alone": table(30, 2), "kd": table(30, 2)}, baseline="alone", resamples=20)
    source = write_comparison("c", found, tmp_path / "c.html").read_text(encoding="utf-8")
    check_accessible_and_alone(source)
    assert "bootstrap samples of the test cases" in source
    assert "Wilcoxon" not in source
    assert "F1 (macro)" in source
