import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddistill.losses.masks import keep, numbers, reaches, targets
from meddistill.testing import gradient

NAN = float("nan")


@given(values=st.lists(st.floats(0, 1, width=32), max_size=20), bound=st.floats(0, 1))
def test_reaches_is_the_comparison_as_a_number(values, bound):
    scores = torch.tensor(values)
    assert torch.equal(reaches(scores, bound), (scores >= bound).float())
    assert reaches(scores.double(), bound).dtype == torch.float64


def test_reaches_says_no_to_nan_and_carries_no_gradient():
    scores = torch.tensor([NAN, 0.9], requires_grad=True)
    passed = reaches(scores, 0.5)
    assert passed.tolist() == [0.0, 1.0]
    assert not passed.requires_grad


def test_numbers_of_a_mask():
    mask = torch.tensor([True, False])
    assert torch.equal(numbers(mask, torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("hidden", [NAN, float("inf"), -float("inf"), 7.0])
def test_keep_drops_whatever_is_hidden_from_values_and_gradient(hidden):
    values = torch.tensor([-2.0, hidden, 3.0, NAN], requires_grad=True)
    kept = keep(values, torch.tensor([1.0, 0.0, 0.5, 1.0]))
    assert kept[:3].tolist() == [-2.0, 0.0, 3.0]
    assert kept[3].isnan()
    assert gradient(kept, values).tolist() == [1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float64])
def test_targets_put_class_zero_where_there_is_no_label(dtype):
    labels = torch.tensor([0, 3, 255, 1], dtype=dtype)
    before = labels.clone()
    target, known = targets(labels, 4, torch.float64, ignore_index=255)
    assert target.tolist() == [0, 3, 0, 1]
    assert torch.equal(known, torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=torch.float64))
    assert torch.equal(labels, before)


@pytest.mark.parametrize("wrong", [2, 255, -1, -101])
def test_a_label_that_is_no_class_is_refused(wrong):
    with pytest.raises(RuntimeError, match=r"labels must lie in 0\.\.1 or be -100"):
        targets(torch.tensor([0, 1, -100, wrong]), 2, torch.float32)


def test_no_labels_at_all_are_no_mistake():
    target, known = targets(torch.zeros(0, 4, dtype=torch.long), 2, torch.float32)
    assert target.shape == known.shape == (0, 4)
