import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meddistill.evaluation import compare_runs
from meddistill.evaluation.latex import escape_latex, latex_table

from .tables import table

BASE = [0.40, 0.45, 0.52, 0.56, 0.61, 0.63, 0.70, 0.72, 0.77, 0.80, 0.83, 0.88]


def compared(name="pcd_50%"):
    runs = {"iid & co": table(BASE), name: table([value + 0.1 for value in BASE])}
    return compare_runs(runs, baseline="iid & co", metrics=["dice", "hd95"], resamples=50)


@given(st.text())
def test_nothing_that_latex_would_obey_is_left(text):
    """Once the commands that escaping writes are taken off, no special character stands alone."""
    escaped = escape_latex(text)
    left = re.sub(r"\\(?:[a-z]+\{\}|[&%$#_{},])|\$(?:-|\\[a-z]+|\^\{\*+\})\$|\{\[\}", "", escaped)
    assert not re.search(r"[&%$#_{}^\\*]|~(?!)", left)


def test_a_table_has_as_many_cells_as_columns_in_every_line():
    text = latex_table(
        ["a&b", "c"], [["1 & 2", "3"], ["x", "y"]], caption="50 %", label="t s", numeric=[False, True]
    )
    body = re.findall(r"^    (?!\\)(.*) \\\\$", text, flags=re.MULTILINE)
    assert [len(re.split(r"(?<!\\)&", line)) for line in body] == [2, 2, 2]
    assert r"\begin{tabular}{lr}" in text
    assert r"\caption{50 \%}" in text
    assert r"\label{t-s}" in text


def test_a_comparison_has_its_scores_and_tests_with_stars_and_escaped_names():
    text = compared().to_latex()
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    assert r"iid \& co & 1 & 0.6558 " in text
    assert re.search(r"pcd\\_50\\% & 1 & 0\.7558\$\^\{\*\*\*?\}\$ ", text)
    assert r"pcd\_50\% - iid \& co" in text
    assert "Holm-adjusted p of the difference from iid \\& co" in text


def test_a_lone_row_has_no_table_of_tests():
    lone = compare_runs({"a": table(BASE)}, baseline="a", metrics=["dice"], resamples=50)
    assert lone.to_latex().count(r"\toprule") == 1


def test_the_stars_are_explained_in_markdown_where_there_are_any():
    lines = compared().to_markdown().splitlines()
    assert re.search(r"^\| pcd_50% \| 1 \| 0\.7558\*\*\*? \[", lines[3])
    assert any(
        line.startswith("Stars mark the Holm-adjusted p of the difference from iid & co: * below 0.05,")
        for line in lines
    )
    same = compare_runs({"a": table(BASE), "b": table(BASE)}, baseline="a", metrics=["dice"], resamples=50)
    assert "Stars" not in same.to_markdown()
    assert "*" not in same.to_markdown()


@pytest.mark.parametrize("name", ["a|b", "x\\y", "{z}", "~", "a_b^c"])
def test_odd_row_names_do_not_break_a_table(name):
    text = compared(name).to_latex()
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.split(r"(?<!\\)&", line)) for line in lines[:3]} == {4}
