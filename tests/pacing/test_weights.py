import pytest
import torch

from meddistill.pacing import (
    BatchMean,
    Boundary,
    Everything,
    HardMask,
    Product,
    SoftWeight,
    TrueClass,
    falling_floor,
    rising_floor,
)
from meddistill.testing import make_inputs


def inputs(shape=(3, 2, 6, 6)):
    _, labels, teacher = make_inputs(shape)
    return teacher, labels


def test_hard_mask_is_one_where_the_score_reaches_the_threshold():
    teacher, labels = inputs()
    mask = HardMask(TrueClass(2.0))(teacher, labels, 0.6)
    assert torch.equal(mask.bool(), TrueClass(2.0)(teacher, labels) >= 0.6)
    assert mask.mean() not in (0, 1)


def test_hard_mask_at_zero_keeps_everything():
    teacher, labels = inputs()
    assert torch.equal(HardMask(TrueClass())(teacher, labels, 0.0), Everything()(teacher, labels, 0.0))


def unwanted(teacher_logits, labels):
    raise AssertionError("the score was asked")


def test_a_hard_mask_that_lets_everything_in_costs_no_score():
    teacher, labels = inputs()
    labels[0, 0] = -100
    assert HardMask(unwanted)(teacher, labels, 0.0).min() == 1
    unwanted.least = 0.5
    assert torch.equal(HardMask(unwanted)(teacher, labels, 0.5), (labels >= 0).double())
    with pytest.raises(AssertionError, match="the score was asked"):
        HardMask(unwanted)(teacher, labels, 0.501)


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.5, 0.501, 0.75, 0.99])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_boundary_mask_is_the_comparison_of_its_score_at_every_threshold(threshold, classes):
    teacher, labels = inputs((2, classes, 7, 6))
    labels[0, :3] = -100
    expected = (Boundary()(teacher, labels) >= threshold).double()
    assert torch.equal(HardMask(Boundary())(teacher, labels, threshold).double(), expected)


@pytest.mark.parametrize("floor", [0.0, 0.4, 1.0, 1.5])
def test_soft_weights_are_exactly_one_or_the_floor(floor):
    teacher, labels = inputs()
    sure = TrueClass()(teacher, labels) >= 0.6
    weight = SoftWeight(TrueClass(), lambda _: floor)(teacher, labels, 0.6)
    assert torch.equal(weight, torch.where(sure, 1.0, torch.tensor(floor, dtype=torch.float64)))


def test_soft_weight_falls_to_its_floor():
    teacher, labels = inputs()
    weight = SoftWeight(TrueClass(), falling_floor)(teacher, labels, 0.6)
    sure = TrueClass()(teacher, labels) >= 0.6
    assert weight[sure].unique().tolist() == [1.0]
    assert weight[~sure].unique().tolist() == pytest.approx([0.5])


def test_floors_move_in_opposite_directions():
    course = [1.0, 0.75, 0.5, 0.25, 0.05, 0.0]
    assert [falling_floor(mu) for mu in course] == pytest.approx([0.9, 0.65, 0.4, 0.15, 0.0, 0.0])
    assert [rising_floor(mu) for mu in course] == pytest.approx([0.1, 0.35, 0.6, 0.85, 1.0, 1.0])


def test_product_multiplies():
    teacher, labels = inputs()
    parts = (HardMask(TrueClass()), HardMask(Boundary()))
    expected = parts[0](teacher, labels, 0.7) * parts[1](teacher, labels, 0.7)
    assert torch.equal(Product(parts)(teacher, labels, 0.7), expected)


def test_batch_mean_times_the_loss_is_the_mean_of_all_pairs():
    teacher, labels = inputs()
    values = torch.rand(3, 6, 6, dtype=torch.float64)
    mask = HardMask(TrueClass())
    pairs = mask(teacher, labels, 0.6).unsqueeze(1) * values
    assert pairs.shape == (3, 3, 6, 6)
    shared = BatchMean(mask)(teacher, labels, 0.6) * values
    assert shared.mean().item() == pytest.approx(pairs.mean().item())


def test_batch_mean_of_one_image_is_its_own_mask():
    teacher, labels = inputs((1, 2, 6, 6))
    mask = HardMask(TrueClass())
    assert torch.equal(BatchMean(mask)(teacher, labels, 0.6), mask(teacher, labels, 0.6))


def test_batch_mean_counts_labelled_images_only():
    teacher, labels = inputs((2, 2, 4, 4))
    labels[1] = -100
    mask = HardMask(TrueClass())
    assert torch.equal(BatchMean(mask)(teacher, labels, 0.6)[0], mask(teacher, labels, 0.6)[0])
