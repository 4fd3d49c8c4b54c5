from hypothesis import given
from hypothesis import strategies as st

from meddistill.report.numbers import number, score, signed
from meddistill.report.tables import case_table, history_table

ROW = {
    "case": "a",
    "group": "a",
    "stratum": "benign",
    "class": "lesion",
    "state": "ok",
    "dice": "0.81234",
    "unit": "mm",
}


def test_columns_that_tell_nothing_are_left_out():
    table = case_table([ROW, {**ROW, "case": "b", "group": "b", "hd95": "3"}])
    assert [column.label for column in table.columns] == ["Case", "Stratum", "State", "Dice"]


def test_groups_classes_and_units_show_when_they_differ():
    table = case_table([ROW, {**ROW, "case": "b", "class": "cyst", "unit": "px"}])
    assert [column.label for column in table.columns] == [
        "Case", "Group", "Stratum", "Class", "State", "Dice", "Unit",
    ]  # fmt: skip


def test_a_cell_sorts_by_the_full_number_and_undefined_by_none():
    table = case_table([{**ROW, "hd95": "nan"}, {**ROW, "state": "missed", "hd95": "181.0193"}])
    first, second = table.rows
    assert (first[3].text, first[3].value) == ("0.812", 0.81234)
    assert (first[4].text, first[4].value) == ("–", None)
    assert (second[2].text, second[2].state) == ("missed", "missed")
    assert table.columns[4].label == "HD95 (mm)"


def test_history_leaves_out_empty_columns():
    table = history_table({"epoch": [0.0, 1.0], "train_loss": [0.5, None], "threshold": [None, None]})
    assert [column.label for column in table.columns] == ["epoch", "train loss"]
    assert [cell.text for cell in table.rows[1]] == ["1", "–"]
    assert history_table({}) is None


@given(st.floats(-1e9, 1e9))
def test_a_number_can_be_read_back(value):
    text = number(value, 3).replace("\u202f", "").replace("\N{MINUS SIGN}", "-")
    assert abs(float(text) - value) <= 0.00051


@given(st.floats(-1, 1))
def test_a_difference_always_has_a_sign(value):
    assert signed(value, "dice")[0] in "+\N{MINUS SIGN}"
    assert signed(value, "dice").lstrip("+") == score(value, "dice")
