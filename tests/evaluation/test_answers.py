import numpy as np
import pytest

from meddistill.data import IGNORE_INDEX
from meddistill.errors import DataError, RunError
from meddistill.evaluation.answers import AnswerTable, is_answer_table
from tests.evaluation.answer_tables import changed, table


def same(first: AnswerTable, second: AnswerTable) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in vars(first))


@pytest.mark.parametrize("several", [False, True])
def test_a_table_round_trips_with_all_digits_and_unknown_labels(tmp_path, several):
    given = table(9, several=several, digits=None)
    labels = given.labels.copy()
    labels[2] = IGNORE_INDEX
    given = changed(given, labels=labels, class_names=("a, b", 'qu"ote', "ü"))
    given.write_csv(tmp_path / "answers.csv")
    again = AnswerTable.read_csv(tmp_path / "answers.csv")
    assert same(given, again)
    assert again.task == ("multi_label" if several else "classification")
    assert is_answer_table(tmp_path / "answers.csv")


def test_an_empty_table_round_trips(tmp_path):
    given = table(6).take([])
    given.write_csv(tmp_path / "answers.csv")
    assert len(AnswerTable.read_csv(tmp_path / "answers.csv")) == 0


def test_the_csv_can_be_read_by_people(tmp_path):
    names = np.array(["x", "y"])
    AnswerTable(
        names, names, names, np.array([1, IGNORE_INDEX]), np.array([[0.25, 0.75], [1, 0]]), ("ill", "well")
    ).write_csv(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "case,group,stratum,label,p_ill,p_well",
        "x,x,x,well,0.25,0.75",
        "y,y,y,,1.0,0.0",
    ]


def test_predictions_and_what_is_known():
    given = table(5, several=True)
    assert np.array_equal(given.predicted, given.probabilities > 0.5)
    assert given.known.shape == (5, 3)
    assert np.array_equal(table(5).predicted, table(5).probabilities.argmax(1))


def test_rows_are_taken_and_sorted_by_case():
    given = table(6)
    back = given.take([5, 3, 1])
    assert back.cases.tolist() == ["case 005", "case 003", "case 001"]
    assert same(back.by_case(), given.take([1, 3, 5]))
    assert same(given.take(given.labels == 1), given.take(np.flatnonzero(given.labels == 1)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros((6, 2), int)}, r"labels \(6, 2\) do not fit 6 images of 3 classes"),
        ({"class_names": ("a", "b")}, r"probabilities \(6, 3\)"),
        ({"groups": np.array(["a"])}, "do not fit"),
        ({"probabilities": np.full((6, 3), np.nan)}, "a probability is not in 0..1"),
        ({"probabilities": np.full((6, 3), 1.5)}, "a probability is not in 0..1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        changed(table(6), **changes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("case,group\n", "is no table of answers"),
        ("case,group,stratum,label,p_a,p_b\nx,x,x,c,0.5,0.5\n", "cannot read the answers .*'c'"),
        ("case,group,stratum,label,p_a,p_b\nx,x,x,a,half,0.5\n", "cannot read the answers"),
        ("case,group,stratum,p_a,p_b\nx,x,x,0.5,0.5\n", "cannot read the answers"),
    ],
)
def test_files_that_are_no_answers_are_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(RunError, match=message):
        AnswerTable.read_csv(tmp_path / "a.csv")


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(RunError, match="is missing: evaluate the run first"):
        AnswerTable.read_csv(tmp_path / "a.csv")
    assert not is_answer_table(tmp_path / "a.csv")
