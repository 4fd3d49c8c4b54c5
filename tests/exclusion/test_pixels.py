import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.exclusion import Answers, TargetPixels, target_pixels
from tests.exclusion.answers import square, two_classes


def test_pixels_above_one_half_are_counted():
    foreground = torch.full((1, 256, 256), 0.5)
    foreground[0, :16, :16] = 0.51
    assert target_pixels(two_classes(foreground)).tolist() == [256.0]


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_count_stands_for_the_same_share_at_every_size(scale):
    """A square of a quarter of the side is 64 x 64 pixels of 256 x 256."""
    assert target_pixels(square(64 * scale, 16 * scale)).tolist() == [4096.0]


def test_a_volume_needs_the_same_share_of_it():
    mask = torch.zeros(1, 8, 16, 16)
    mask[0, :2] = 1  # a quarter
    assert target_pixels(two_classes(mask)).tolist() == [16384.0]


def test_every_class_but_the_background_counts():
    chosen = torch.tensor([[[0, 1], [2, 2]]])
    p = torch.nn.functional.one_hot(chosen, 3).movedim(-1, 1).float()
    assert target_pixels(p).tolist() == [3 / 4 * 65536]


def test_an_empty_mask_goes_and_a_target_of_alpha_pixels_stays():
    rule = TargetPixels(alpha=256)
    empty, just = square(256, 0), square(256, 16)
    measured = torch.cat([rule.measure(Answers(p)) for p in (empty, just, square(256, 15))])
    assert rule.keeps(measured).tolist() == [False, True, False]


def test_without_a_limit_empty_masks_stay():
    assert TargetPixels(alpha=0).keeps(torch.zeros(2, 1)).tolist() == [True, True]


def test_what_to_relax():
    measured = torch.tensor([[0.0], [127.0]])
    assert TargetPixels().relax(measured) == "the largest target has 127 pixels; lower alpha to 127 or less"
    assert TargetPixels().relax(measured[:1]).startswith("every mask is empty")


@given(pixels=st.lists(st.floats(0, 65536), min_size=1, max_size=20), alpha=st.floats(0, 65536))
@settings(max_examples=50)
def test_the_suggested_alpha_keeps_the_largest_target(pixels, alpha):
    measured = torch.tensor(pixels)[:, None]
    rule = TargetPixels(alpha=alpha)
    if measured.max() < 1 or bool(rule.keeps(measured).any()):
        return
    suggested = float(rule.relax(measured).split(" to ")[1].split(" or")[0])
    assert bool(TargetPixels(alpha=suggested).keeps(measured).any())
