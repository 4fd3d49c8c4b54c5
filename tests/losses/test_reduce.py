import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddistill.errors import ConfigError
from meddistill.losses import masked_mean

VALUES = torch.tensor([[1.0, 2.0], [3.0, 10.0]])
WEIGHT = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
VALID = torch.tensor([[True, True], [True, False]])


def test_all_divides_by_the_valid_pixels():
    assert masked_mean(VALUES, WEIGHT, VALID).item() == pytest.approx(2 / 3)


def test_selected_divides_by_the_sum_of_the_weights():
    assert masked_mean(VALUES, WEIGHT, VALID, normalise="selected").item() == pytest.approx(2 / 1.5)


@given(share=st.floats(0.01, 1.0))
def test_all_is_selected_times_the_mean_weight(share):
    weight = torch.full((2, 2), share)
    selected = masked_mean(VALUES, weight, VALID, normalise="selected")
    torch.testing.assert_close(masked_mean(VALUES, weight, VALID), share * selected)


@pytest.mark.parametrize("normalise", ["all", "selected"])
def test_nothing_to_count_gives_zero_with_a_gradient_of_zero(normalise):
    for weight, valid in ((WEIGHT, torch.zeros(2, 2).bool()), (torch.zeros(2, 2), VALID)):
        values = VALUES.clone().requires_grad_()
        loss = masked_mean(values, weight, valid, normalise=normalise)
        loss.backward()
        assert loss.item() == 0
        assert not values.grad.any()


def test_a_nan_at_an_invalid_pixel_does_not_spread():
    values = VALUES.clone()
    values[1, 1] = float("nan")
    assert masked_mean(values, WEIGHT, VALID).item() == pytest.approx(2 / 3)


def test_unknown_normalisation_is_refused():
    with pytest.raises(ConfigError, match="unknown normalise 'none'"):
        masked_mean(VALUES, WEIGHT, VALID, normalise="none")
