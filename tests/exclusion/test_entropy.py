import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.exclusion import (
    Answers,
    GreyLevelEntropy,
    PixelEntropy,
    grey_level_entropy,
    pixel_entropy,
)
from tests.exclusion.answers import noise, randomly, square, two_classes


def bits(*shares: float) -> float:
    return -sum(share * math.log2(share) for share in shares if share)


@pytest.mark.parametrize("side", [4, 20, 32, 45])
def test_a_saturated_mask_has_the_entropy_of_its_foreground_share(side):
    share = side**2 / 64**2
    found = float(grey_level_entropy(square(64, side)))
    assert found == pytest.approx(bits(share, 1 - share), rel=1e-6)
    assert found <= 1


def test_a_saturated_mask_stays_and_noise_goes():
    rule = GreyLevelEntropy()
    measured = torch.cat([rule.measure(Answers(p)) for p in (square(), noise(256))])
    assert rule.keeps(measured).tolist() == [True, False]
    assert 7.9 < float(measured[1]) <= 8


def test_every_grey_level_once_has_eight_bits():
    levels = (torch.arange(256.0) / 255).view(1, 16, 16)
    assert grey_level_entropy(two_classes(levels)).tolist() == [8.0]


def test_levels_are_rounded():
    """0.499 and 0.501 of 255 lie in one level or two: 127.2 -> 127, 127.8 -> 128, 127.4 -> 127."""
    levels = torch.tensor([[[127.2, 127.4, 127.8, 128.4]]]) / 255
    assert grey_level_entropy(two_classes(levels)).tolist() == [1.0]


def test_of_several_classes_the_most_likely_one_is_looked_at():
    p = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.3, 0.6]]).T[None, :, None]
    assert grey_level_entropy(p).tolist() == [0.0]
    assert grey_level_entropy(p[:, :, :, :1]).tolist() == [0.0]


def test_the_entropy_of_pixels_by_hand():
    foreground = torch.tensor([[[0.5, 1.0], [0.25, 0.0]]])
    assert pixel_entropy(two_classes(foreground)).tolist() == [pytest.approx((1 + bits(0.25, 0.75)) / 4)]


def test_both_entropies_differ_on_a_mask_of_one_grey():
    """All pixels at 0.5: one grey level, and no idea about any pixel."""
    grey = two_classes(torch.full((1, 8, 8), 0.5))
    assert (float(grey_level_entropy(grey)), float(pixel_entropy(grey))) == (0.0, 1.0)
    assert PixelEntropy().keeps(torch.tensor([[0.2], [0.21]])).tolist() == [True, False]


@given(seed=st.integers(0, 1000), classes=st.integers(2, 5), scale=st.sampled_from([0.0, 1.0, 100.0]))
@settings(max_examples=40)
def test_entropies_lie_between_their_bounds(seed, classes, scale):
    p = randomly((2, classes, 7, 6), seed=seed, scale=scale)
    grey, pixels = grey_level_entropy(p), pixel_entropy(p)
    assert bool(((grey >= 0) & (grey <= min(8, math.log2(42)) + 1e-5)).all())
    assert bool(((pixels >= -1e-6) & (pixels <= math.log2(classes) + 1e-5)).all())


@pytest.mark.parametrize("rule", [GreyLevelEntropy, PixelEntropy])
@given(values=st.lists(st.floats(0.001, 8), min_size=1, max_size=20), limit=st.floats(0.001, 8))
@settings(max_examples=50)
def test_the_suggested_limit_keeps_the_best_case(rule, values, limit):
    measured = torch.tensor(values)[:, None]
    if bool(rule(limit).keeps(measured).any()):
        return
    suggested = float(rule(limit).relax(measured).split(" to ")[1].split(" or")[0])
    assert bool(rule(suggested).keeps(measured).any())


def test_what_to_relax():
    said = GreyLevelEntropy().relax(torch.tensor([[2.787], [5.0]]))
    assert said == "the least grey-level entropy is 2.79 bits; raise beta to 2.79 or more"
