"""Which numbers are stored: the softmax must come back at every temperature."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddistill.errors import ConfigError
from meddistill.teachers.layout import Likeliest, Odds, Relative, choose_layout

TEMPERATURES = (0.5, 1.0, 4.5)


def logits(classes, shape=(3, 4), scale=5.0, seed=0, batch=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((batch, classes, *shape), generator=generator, dtype=torch.float64) * scale


@given(
    classes=st.integers(2, 9),
    shape=st.lists(st.integers(1, 4), max_size=3),
    scale=st.sampled_from([0.1, 3.0, 30.0]),
    shift=st.floats(-1000, 1000),
)
def test_nothing_is_lost_when_all_classes_are_kept(classes, shape, scale, shift):
    layout, given_logits = choose_layout(classes), logits(classes, shape, scale)
    values, ranks = layout.pack(given_logits + shift)
    assert values.shape == (2, layout.channels, *shape)
    back = layout.unpack(values, ranks).double()
    for temperature in TEMPERATURES:
        expected = (given_logits / temperature).softmax(dim=1)
        torch.testing.assert_close((back / temperature).softmax(dim=1), expected, atol=1e-4, rtol=0)


def test_two_classes_need_one_number_and_more_need_one_each():
    assert (Odds().channels, Relative(5).channels, Likeliest(104, 8).channels) == (1, 5, 8)
    assert isinstance(choose_layout(16), Relative)
    assert choose_layout(17) == Likeliest(17, 8)
    assert choose_layout(17, top_k=17) == Relative(17)
    assert choose_layout(4, top_k=2) == Likeliest(4, 2)


@pytest.mark.parametrize("kept", [1, 2, 5])
@pytest.mark.parametrize("classes", [6, 300])
def test_the_likeliest_classes_keep_their_differences_and_the_rest_its_sum(kept, classes):
    layout, given_logits = Likeliest(classes, kept), logits(classes)
    values, ranks = layout.pack(given_logits)
    assert ranks.shape == (2, kept, 3, 4)
    assert ranks.dtype == (torch.uint8 if classes <= 256 else torch.int16)
    back = layout.unpack(values, ranks).double()
    probability, restored = given_logits.softmax(dim=1), back.softmax(dim=1)
    order = probability.argsort(dim=1, descending=True)
    best = order[:, :kept]
    torch.testing.assert_close(restored.gather(1, best), probability.gather(1, best), atol=1e-6, rtol=1e-4)
    ours, theirs = back.gather(1, best), given_logits.gather(1, best)
    torch.testing.assert_close(ours - ours[:, :1], theirs - theirs[:, :1], atol=1e-5, rtol=1e-5)
    rest = restored.gather(1, order[:, kept:])
    torch.testing.assert_close(rest, rest[:, :1].expand_as(rest))


@pytest.mark.parametrize("top_k", [0, -1, 5])
def test_impossible_numbers_of_classes_are_refused(top_k):
    with pytest.raises(ConfigError, match=f"top_k is {top_k}; give 1 to 4"):
        choose_layout(4, top_k)
