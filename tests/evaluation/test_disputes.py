import numpy as np

from meddistill.evaluation import AnswerTable
from meddistill.evaluation.case_scores import CaseScores
from meddistill.evaluation.disputes import answer_of, disputes

NAN = float("nan")


def scores(**rows):
    values = {name: np.array([dice]) for name, dice in rows.items()}
    names = np.array([f"c{place}" for place in range(len(next(iter(rows.values()))))])
    return CaseScores("dice", True, names, names, values)


def test_the_largest_spread_comes_first_and_agreement_is_left_out():
    found = disputes(scores(a=[0.5, 0.1, 0.9, 0.4], b=[0.5, 0.6, 0.8, 0.9], c=[0.5, 0.7, 0.7, 0.4]))
    assert [one.case for one in found] == ["c1", "c3", "c2"]
    assert found[0].scores == (0.1, 0.6, 0.7)
    assert [one.case for one in disputes(scores(a=[0.1, 0.2], b=[0.9, 0.3]), 1)] == ["c0"]


def test_seeds_are_averaged_first():
    names = np.array(["x", "y"])
    rows = {"a": np.array([[0.0, 0.5], [1.0, 0.5]]), "b": np.array([[0.5, 0.9]])}
    assert [one.case for one in disputes(CaseScores("dice", True, names, names, rows))] == ["y"]


def test_a_case_that_only_one_row_has_is_no_dispute():
    assert disputes(scores(a=[0.1, NAN], b=[NAN, NAN])) == []
    [one] = disputes(scores(a=[0.1, 0.2], b=[0.3, NAN], c=[NAN, NAN]))
    assert one.case == "c0"
    assert np.isnan(one.scores[2])


def test_the_answer_of_a_row_is_that_of_its_mean_probabilities():
    names = np.array(["a", "b"])

    def table(*sick):
        both = np.stack([1 - np.array(sick), sick], 1)
        return AnswerTable(names, names, names, np.array([1, -100]), both, ("well", "sick"))

    truth, answer, probability = answer_of([table(0.9, 0.2), table(0.4, 0.2)], "a")
    assert (truth, answer, round(probability, 2)) == ("sick", "sick", 0.65)
    assert answer_of([table(0.9, 0.2)], "b")[:2] == ("unknown", "well")


def test_several_labels_are_listed():
    names = np.array(["a"])
    table = AnswerTable(
        names, names, names, np.array([[1, 0, 1]]), np.array([[0.9, 0.2, 0.4]]), ("x", "y", "z")
    )
    assert answer_of([table], "a") == ("x, z", "x", np.mean([0.9, 0.8, 0.6]))
