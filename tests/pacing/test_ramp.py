import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meddistill.errors import ConfigError
from meddistill.pacing import SigmoidRamp


def test_values_of_the_formula():
    ramp = SigmoidRamp(4)
    assert [ramp(epoch) for epoch in range(6)] == pytest.approx(
        [math.exp(-5 * (1 - epoch / 4) ** 2) for epoch in range(4)] + [1.0, 1.0]
    )


@given(st.integers(0, 50), st.integers(0, 60))
def test_rises_to_one_and_stays(epochs, epoch):
    ramp = SigmoidRamp(epochs)
    assert 0 < ramp(epoch) <= ramp(epoch + 1) <= 1
    assert (ramp(epoch) == 1.0) == (epoch >= epochs)


@pytest.mark.parametrize("epochs", [-1, 1.5, True, "3"])
def test_other_lengths_are_refused(epochs):
    with pytest.raises(ConfigError, match="ramp_epochs must be a whole number of 0 or more"):
        SigmoidRamp(epochs)
