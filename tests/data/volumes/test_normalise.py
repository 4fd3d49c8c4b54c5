import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from meddistill.data.volumes import Normalisation
from meddistill.errors import ConfigError, DataError


def test_minmax_takes_the_extremes_of_each_channel():
    volume = np.array([[0, 5, 10], [100, 200, 300]], dtype=np.int16).reshape(2, 1, 1, 3)
    found = Normalisation("minmax")(volume)
    assert found.dtype == np.float32
    assert found.reshape(2, 3).tolist() == [[0, 0.5, 1], [0, 0.5, 1]]


def test_percentiles_clip_the_tails():
    volume = np.arange(1001, dtype=np.float32).reshape(1, 7, 11, 13)
    volume[0, 0, 0, :2] = -1e6, 1e6
    low, high = np.percentile(volume, [0.5, 99.5])
    found = Normalisation("percentiles")(volume)
    np.testing.assert_allclose(found, np.clip((volume - low) / (high - low), 0, 1), atol=1e-6)
    assert (found[0, 0, 0, 0], found[0, 0, 0, 1]) == (0, 1)


def test_percentiles_of_a_nearly_empty_volume_keep_what_there_is():
    volume = np.zeros((1, 10, 10, 10), np.float32)
    volume[0, 5, 5, 5] = 7
    assert Normalisation()(volume).max() == 1


def test_a_window_is_fixed():
    volume = np.array([-1000, -160, 40, 240, 3000], dtype=np.float32).reshape(1, 1, 1, 5)
    assert Normalisation("window", (-160, 240))(volume).ravel().tolist() == [0, 0, 0.5, 1, 1]


@settings(max_examples=50)
@given(
    arrays(np.float32, (2, 2, 3, 2), elements=st.floats(-1e7, 1e7, width=32)),
    st.sampled_from(
        [Normalisation("minmax"), Normalisation("percentiles"), Normalisation("window", (-3, 9))]
    ),
)
def test_values_lie_in_0_to_1_and_keep_their_order(volume, normalisation):
    before = volume.copy()
    found = normalisation(volume)
    assert np.array_equal(volume, before)
    assert found.min() >= 0
    assert found.max() <= 1
    for channel, given_ in zip(found, volume, strict=True):
        assert (np.diff(channel.ravel()[np.argsort(given_, axis=None, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("normalisation", [Normalisation("minmax"), Normalisation("window", (0, 1))])
def test_what_is_not_finite_is_refused(wrong, normalisation):
    volume = np.zeros((1, 2, 2, 2))
    volume[0, 0, 0, :] = wrong
    with pytest.raises(DataError, match="2 of 8 voxels are NaN or infinite"):
        normalisation(volume)


def test_voxels_too_far_apart_for_float32_are_refused():
    volume = np.array([-3e38, 0, 3e38]).reshape(1, 1, 1, 3)
    with pytest.raises(DataError, match=r"from -3e\+38 to 3e\+38, too far for float32"):
        Normalisation("minmax")(volume)


def test_a_constant_volume_becomes_0():
    assert Normalisation()(np.full((1, 2, 2, 2), 9.0)).tolist() == np.zeros((1, 2, 2, 2)).tolist()


@pytest.mark.parametrize("kind", ["minmax", "percentiles"])
@pytest.mark.parametrize(("step", "largest"), [(1e-45, 0), (1e-39, 0), (1.2e-38, 1), (1e-30, 1)])
def test_values_of_which_the_distance_has_no_inverse_count_as_one(kind, step, largest):
    volume = np.full((1, 2, 2, 2), step, np.float32)
    volume[0, 0, 0, 0] = 0
    found = Normalisation(kind)(volume)
    assert (found.min(), found.max()) == (0, pytest.approx(largest))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("percentile",), "did you mean 'percentiles'"),
        (("window",), "window and window"),
        (("minmax", (0, 1)), "go together"),
        (("window", (1, 1)), "the lower first"),
        (("window", (0, 1e-45)), "the lower first"),
        (("window", (0, np.inf)), "two numbers"),
        (("window", (0, 1, 2)), "two numbers"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        Normalisation(*options)
