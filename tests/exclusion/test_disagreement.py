import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.errors import ConfigError
from meddistill.exclusion import Answers, Disagreement, disagreement
from tests.exclusion.answers import randomly, square


def test_members_that_agree_measure_nothing_and_those_that_contradict_one_bit():
    one = square()
    assert disagreement(torch.stack([one, one, one])).tolist() == [pytest.approx(0, abs=1e-6)]
    assert disagreement(torch.stack([one, 1 - one])).tolist() == [1.0]


def test_the_share_of_pixels_that_differ():
    """Squares of 8 x 8 and 16 x 16 in 64 x 64, both sure: 192 of 4096 pixels differ by one bit."""
    both = torch.stack([square(64, 8), square(64, 16)])
    assert disagreement(both).tolist() == [pytest.approx(192 / 4096)]


def test_members_may_be_unsure_together():
    """Both say 1/2: no disagreement, whatever the entropy."""
    unsure = square(inside=0.5, outside=0.5)
    assert disagreement(torch.stack([unsure, unsure])).tolist() == [0.0]


def test_by_hand():
    """Foreground 0.9 and 0.5: H(0.7) - (H(0.9) + H(0.5)) / 2."""
    found = disagreement(torch.tensor([[[0.1, 0.9]], [[0.5, 0.5]]]))

    def entropy(p: float) -> float:
        return -p * math.log2(p) - (1 - p) * math.log2(1 - p)

    assert found.tolist() == [pytest.approx(entropy(0.7) - (entropy(0.9) + 1) / 2, rel=1e-5)]


@given(seed=st.integers(0, 1000), members=st.integers(2, 5), classes=st.integers(2, 4))
@settings(max_examples=40)
def test_it_lies_between_nothing_and_the_logarithm_of_the_members(seed, members, classes):
    p = torch.stack([randomly((2, classes, 5, 4), seed=seed + i, scale=9) for i in range(members)])
    found = disagreement(p)
    assert bool(((found >= 0) & (found <= math.log2(min(members, classes)) + 1e-5)).all())
    torch.testing.assert_close(disagreement(p.flip(0)), found)


@pytest.mark.parametrize("members", [None, square()[None]])
def test_one_teacher_has_nobody_to_disagree_with(members):
    with pytest.raises(ConfigError, match=r"there is one; give teacher\.members, or leave the rule out"):
        Disagreement().measure(Answers(square(), members))


def test_only_this_rule_needs_the_members():
    assert Disagreement.needs_members
