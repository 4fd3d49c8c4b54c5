"""Joining teachers: numbers worked out by hand, and what must hold for all."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.errors import ConfigError, TeacherError
from meddistill.teachers.joining import (
    confidence_table,
    join_function,
    join_logits,
    join_probabilities,
    member_confidence,
    weight_table,
)

INF = math.inf


def log(*rows: list[float]) -> torch.Tensor:
    """Logits (M, 1, K) of members with these probabilities; 0 gives minus infinity."""
    return torch.tensor(rows).log()[:, None]


def test_probabilities_by_hand():
    joined = join_probabilities(log([0.8, 0.2], [0.4, 0.6]), torch.tensor([[0.75, 0.75], [0.25, 0.25]]))
    assert joined.softmax(1)[0].tolist() == pytest.approx([0.7, 0.3])


def test_weights_of_classes_by_hand():
    """p is proportional to (0.5 * 0.8 + 0.5 * 0.4, 1 * 0.2 + 0 * 0.6) = (0.6, 0.2)."""
    joined = join_probabilities(log([0.8, 0.2], [0.4, 0.6]), torch.tensor([[0.5, 1.0], [0.5, 0.0]]))
    assert joined.softmax(1)[0].tolist() == pytest.approx([0.75, 0.25])


def test_logits_by_hand():
    logits = torch.tensor([[[1.0, 2.0]], [[5.0, 0.0]]])
    joined = join_logits(logits, torch.tensor([[0.75, 0.5], [0.25, 0.5]]))
    assert joined[0].tolist() == pytest.approx([2.0, 1.0])


def test_label_sets_that_differ_by_hand():
    """Member 0 knows liver, member 1 liver and tumour, and class 0 is what a member takes for background.

    odds of liver: (0.5 * 0.6 + 0.5 * 0.2) / (0.5 * 0.4 + 0.5 * 0.3) = 0.4 / 0.35; of tumour: 0.5 / 0.3.
    """
    logits = log([0.4, 0.6, 0.0], [0.3, 0.2, 0.5])
    known = torch.tensor([[True, True, False], [True, True, True]])
    joined = join_probabilities(logits, weight_table(None, known), known)
    odds = [1.0, 0.4 / 0.35, 0.5 / 0.3]
    assert joined.exp()[0].tolist() == pytest.approx(odds)
    assert joined.softmax(1)[0].tolist() == pytest.approx([value / sum(odds) for value in odds])


def test_weights_where_label_sets_differ_by_hand():
    """Liver by 3 : 1: (0.75 * 0.6 + 0.25 * 0.2) / (0.75 * 0.4 + 0.25 * 0.3) = 0.5 / 0.375."""
    logits = log([0.4, 0.6, 0.0], [0.3, 0.2, 0.5])
    known = torch.tensor([[True, True, False], [True, True, True]])
    joined = join_probabilities(logits, weight_table([3, 1], known), known)
    assert joined.exp()[0].tolist() == pytest.approx([1.0, 0.5 / 0.375, 0.5 / 0.3])


def test_logits_where_label_sets_differ_by_hand():
    """Distances from the background: liver (3 - 1, 4 - 2), tumour (7 - 2) of the second alone."""
    logits = torch.tensor([[[1.0, 3.0, -INF]], [[2.0, 4.0, 7.0]]])
    known = torch.tensor([[True, True, False], [True, True, True]])
    joined = join_logits(logits, weight_table(None, known), known)
    assert joined[0].tolist() == pytest.approx([0.0, 2.0, 5.0])


def test_two_teachers_of_one_organ_each():
    """Both are sure of background except for their own organ: the more certain one wins."""
    logits = log([0.1, 0.9, 0.0], [0.5, 0.0, 0.5])
    known = torch.tensor([[True, True, False], [True, False, True]])
    joined = join_probabilities(logits, weight_table(None, known), known)
    assert joined.softmax(1)[0].tolist() == pytest.approx([1 / 11, 9 / 11, 1 / 11])


numbers = st.floats(-30, 30, width=32)
joins = pytest.mark.parametrize("join", [join_probabilities, join_logits])


@joins
@given(row=st.lists(numbers, min_size=2, max_size=5), members=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_equal_members_say_what_each_says(join, row: list[float], members: int, seed: int):
    logits = torch.tensor(row).expand(members, 1, -1)
    drawn = torch.rand(members, generator=torch.Generator().manual_seed(seed)) + 0.1
    weights = weight_table(drawn.tolist(), torch.ones(members, len(row), dtype=torch.bool))
    assert torch.allclose(join(logits, weights).softmax(1)[0], logits[0, 0].softmax(0), atol=1e-5)


@joins
@given(seed=st.integers(0, 10_000))
@settings(max_examples=30)
def test_joining_in_odds_agrees_where_all_know_all(join, seed: int):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 2, 4, 5, generator=generator)
    known = torch.ones(3, 4, dtype=torch.bool)
    weights = weight_table((torch.rand(3, generator=generator) + 0.1).tolist(), known)
    plain, odds = join(logits, weights), join(logits, weights, known)
    assert torch.allclose(plain.softmax(1), odds.softmax(1), atol=1e-5)


@joins
@pytest.mark.parametrize("known", [None, torch.tensor([[True, True, True], [True, False, True]])])
def test_members_that_are_sure_leave_it_finite(join, known: torch.Tensor | None):
    logits = torch.tensor([[[1e4, -1e4, 0.0]], [[-1e4, 1e4, 1e4]]])
    if known is not None:
        logits[1, 0, 1] = -INF
    weights = weight_table([1.0, 1e-6], torch.ones(2, 3, dtype=torch.bool) if known is None else known)
    joined = join(logits, weights, known)
    assert bool(joined.isfinite().all())
    assert joined.dtype == torch.float32


def test_the_order_of_members_does_not_matter():
    logits = torch.randn(3, 2, 4, 5)
    weights = weight_table([1, 2, 3], torch.ones(3, 4, dtype=torch.bool))
    turned = join_probabilities(logits.flip(0), weights.flip(0))
    assert torch.allclose(join_probabilities(logits, weights), turned, atol=1e-6)


ALL = torch.ones(2, 3, dtype=torch.bool)


def test_weights_are_normalised_over_those_who_know_the_class():
    known = torch.tensor([[True, True, False], [True, True, True]])
    assert weight_table(None, known).tolist() == [[0.5, 0.5, 0.0], [0.5, 0.5, 1.0]]
    assert weight_table([1, 3], known).tolist() == [[0.25, 0.25, 0.0], [0.75, 0.75, 1.0]]
    assert weight_table([[1, 1, 5], [1, 3, 1]], known).tolist() == [[0.5, 0.25, 0.0], [0.5, 0.75, 1.0]]


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0], "give one number for each of the 2 members, or for each of them a list of 3"),
        ([[1, 1], [1, 1]], "do not fit"),
        ([[1, 1, 1], [1, 1]], "do not fit"),
        ([1.0, -1.0], "must be finite and not below 0"),
        ([1.0, math.nan], "must be finite"),
        ([0.0, 0.0], "no member has a weight above 0 for class 0"),
        ([[1, 0, 1], [1, 0, 1]], "no member has a weight above 0 for class 1"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights: list[float], said: str):
    with pytest.raises(TeacherError, match=f"^teacher.weights: .*{said}"):
        weight_table(weights, ALL)


def test_an_unknown_combination_is_refused():
    with pytest.raises(ConfigError, match=r"unknown teacher\.combine 'logit'; did you mean 'logits'"):
        join_function("logit")


def test_confidence_by_hand():
    """Two pixels of (1/2, 1/2) and (1, 0): half the entropy of equally likely classes."""
    half = torch.tensor([[0.5, 1.0], [0.5, 0.0]]).log()[None, None]
    assert member_confidence(half, ALL[:1, :2]).tolist() == [[pytest.approx(0.5)]]


def test_confidence_counts_only_the_classes_that_a_member_knows():
    logits = log([0.5, 0.5, 0.0], [0.5, 0.5, 0.0])
    known = torch.tensor([[True, True, False], [True, True, True]])
    unsure, surer = member_confidence(logits, known)[:, 0].tolist()
    assert unsure == pytest.approx(0, abs=1e-6)
    assert surer == pytest.approx(1 - math.log(2) / math.log(3), rel=1e-5)


def test_members_are_weighed_by_their_confidence_in_each_case():
    """Member 0 is sure of the first case and guesses in the second; member 1 the other way round."""
    sure, guess = [0.99, 0.01], [0.5, 0.5]
    logits = torch.tensor([[sure, guess], [guess, sure]]).log()
    table = confidence_table(logits, ALL[:, :2])
    torch.testing.assert_close(table, torch.tensor([[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]]))
    for join in (join_probabilities, join_logits):
        torch.testing.assert_close(join(logits, table).softmax(1), torch.tensor([sure, sure]))


def test_weights_by_confidence_are_normalised_over_those_who_know_the_class():
    logits = log([0.9, 0.1, 0.0], [0.8, 0.1, 0.1])
    known = torch.tensor([[True, True, False], [True, True, True]])
    sure = member_confidence(logits, known)[:, 0]
    shares = (sure / sure.sum()).tolist()
    table = confidence_table(logits, known)[:, 0]
    assert table[:, 0].tolist() == pytest.approx(shares)
    assert table[:, 1].tolist() == pytest.approx(shares)
    assert table[:, 2].tolist() == [0.0, 1.0]


def test_members_that_only_guess_weigh_the_same():
    table = confidence_table(torch.zeros(3, 2, 4, 5), torch.ones(3, 4, dtype=torch.bool))
    torch.testing.assert_close(table, torch.full((3, 2, 4), 1 / 3))


@joins
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.0, 1.0, 50.0]))
@settings(max_examples=30)
def test_weights_of_cases_add_up_and_leave_the_result_finite(join, seed: int, scale: float):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(3, 2, 4, 5, 5, generator=generator)
    known = torch.tensor([[True, True, True, True], [True, False, True, True], [True, True, False, False]])
    logits = logits.where(known.view(3, 1, 4, 1, 1), -INF)
    table = confidence_table(logits, known)
    torch.testing.assert_close(table.sum(0), torch.ones(2, 4))
    assert not table.movedim(1, 0)[:, ~known].any()
    assert bool(join(logits, table, known).isfinite().all())


@joins
def test_weights_of_one_case_are_those_of_all(join):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 3, 5, generator=generator)
    table = weight_table([1, 3], ALL)
    for known in (None, ALL):
        by_case = join(logits, table[:, None].expand(2, 3, 3), known)
        torch.testing.assert_close(by_case, join(logits, table, known))
