"""How precisely logits are stored."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddistill.teachers.encoding import Byte, Half, choose_encoding

SHAPES = ((7,), (5, 6), (3, 4, 5))


def values(shape, scale, seed=0, batch=3):
    return torch.randn((batch, *shape), generator=torch.Generator().manual_seed(seed)) * scale


@given(shape=st.sampled_from(SHAPES), scale=st.sampled_from([0.01, 1.0, 8.0, 40.0]), seed=st.integers(0, 5))
def test_a_byte_keeps_the_probability_of_two_classes_within_one_grey_level(shape, scale, seed):
    odds = values((1, *shape), scale, seed)
    encoding = Byte("sigmoid")
    codes, bounds = encoding.encode(odds)
    assert (codes.dtype, codes.shape, bounds.shape) == (torch.uint8, odds.shape, (3, 2))
    back = encoding.decode(codes, bounds)
    assert (back.sigmoid() - odds.sigmoid()).abs().max() <= 1 / 255
    step = 0.5 / 255 / 0.45 * (bounds[:, 1] - bounds[:, 0])
    assert ((back - odds.clamp(-64, 64)).abs().flatten(1).amax(dim=1) <= step + 1e-3).all()


@given(shape=st.sampled_from(SHAPES), scale=st.sampled_from([0.01, 1.0, 8.0]), classes=st.integers(3, 6))
def test_a_byte_keeps_relative_logits(shape, scale, classes):
    relative = values((classes, *shape), scale)
    relative = relative - relative.amax(dim=1, keepdim=True)
    encoding = Byte("exponential")
    back = encoding.decode(*encoding.encode(relative))
    assert (back.exp() - relative.exp()).abs().max() <= 1 / 255
    assert (back.softmax(dim=1) - relative.softmax(dim=1)).abs().max() <= 1.5 / 255
    assert (back.amax(dim=1) <= 1e-6).all()


@given(shape=st.sampled_from(SHAPES), scale=st.sampled_from([0.01, 1.0, 8.0, 40.0]))
def test_half_precision_changes_a_probability_by_less_than_0_0002(shape, scale):
    odds = values((1, *shape), scale)
    codes, bounds = Half().encode(odds)
    assert codes.dtype == torch.float16
    assert bounds is None
    assert (Half().decode(codes, None).sigmoid() - odds.sigmoid()).abs().max() < 2e-4


@pytest.mark.parametrize("name", ["float16", "uint8"])
@pytest.mark.parametrize("growth", ["sigmoid", "exponential"])
def test_a_case_of_one_value_and_huge_values(name, growth):
    encoding = choose_encoding(name, growth)
    for extreme in (torch.zeros(2, 1, 4), torch.full((1, 1, 3), -7.5), torch.tensor([[[-1e9, -3.0, 0.0]]])):
        back = encoding.decode(*encoding.encode(extreme))
        assert back.isfinite().all()
        assert (back.sigmoid() - extreme.sigmoid()).abs().max() <= 1 / 255


def test_each_case_has_its_own_scale():
    odds = torch.stack([torch.linspace(-1, 1, 9), torch.linspace(-20, 20, 9)])[:, None]
    encoding = Byte("sigmoid")
    together = encoding.encode(odds)
    alone = encoding.encode(odds[:1])
    assert torch.equal(together[0][:1], alone[0])
    assert together[1].tolist() == [[-1, 1], [-20, 20]]
    assert torch.equal(encoding.decode(*together)[:1], encoding.decode(*alone))
