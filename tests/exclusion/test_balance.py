import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddistill.exclusion import Answers, ClassBalance, dominant_class
from tests.exclusion.answers import square

cases = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.5, 0.6, 0.7, 0.9])), max_size=40)


def table(rows: list[tuple[int, float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 2)


def test_a_case_belongs_to_its_largest_foreground_class():
    chosen = torch.tensor([[0, 0, 0, 1, 2, 2], [0, 0, 0, 0, 1, 2], [0, 0, 0, 0, 0, 0]])
    p = torch.nn.functional.one_hot(chosen, 3).movedim(-1, 1) * 0.7 + 0.1
    found = dominant_class(p)
    assert found.classes.tolist() == [2, 1, 0]  # the second has both once: the first class counts
    assert found.confidence.tolist() == pytest.approx([0.8, 0.8, 0.8])


def test_confidence_is_that_of_the_target_alone():
    """However unsure the background is; of an empty mask it is that of all pixels."""
    assert dominant_class(square(inside=0.9, outside=0.4)).confidence.tolist() == pytest.approx([0.9])
    half = torch.tensor([[[0.2, 0.4]]])
    assert dominant_class(torch.stack([1 - half, half], 1)).confidence.tolist() == pytest.approx([0.7])


def test_the_least_confident_cases_of_frequent_classes_go():
    measured = table([(1, 0.5), (1, 0.9), (1, 0.7), (2, 0.5), (0, 0.6), (0, 0.8)])
    assert ClassBalance(max_ratio=1).keeps(measured).tolist() == [False, True, False, True, False, True]
    assert ClassBalance(max_ratio=2).keeps(measured).tolist() == [False, True, True, True, True, True]
    assert ClassBalance(max_ratio=2.9).keeps(measured).tolist() == [False, True, True, True, True, True]
    assert ClassBalance(max_ratio=3).keeps(measured).all()


def test_of_equal_cases_the_earlier_ones_stay():
    measured = table([(1, 0.7), (1, 0.7), (1, 0.7), (2, 0.1)])
    assert ClassBalance(max_ratio=2).keeps(measured).tolist() == [True, True, False, True]


def test_measured_numbers_are_class_and_confidence():
    rule = ClassBalance()
    torch.testing.assert_close(rule.measure(Answers(square(inside=0.75))), torch.tensor([[1.0, 0.75]]))
    assert rule.columns == ("class_balance_class", "class_balance_confidence")


@given(rows=cases, ratio=st.floats(1, 5))
def test_no_class_has_more_than_the_ratio_and_none_loses_without_need(rows, ratio):
    measured = table(rows)
    kept = ClassBalance(max_ratio=ratio).keeps(measured)
    classes = measured[:, 0].long()
    before, after = classes.bincount(minlength=5), classes[kept].bincount(minlength=5)
    if not rows:
        return
    rarest = int(before[before > 0].min())
    assert torch.equal(after, before.clamp(max=int(ratio * rarest)))
    for k in range(5):
        own = classes == k
        inside, outside = measured[own & kept, 1], measured[own & ~kept, 1]
        assert not len(outside) or inside.min() >= outside.max()
