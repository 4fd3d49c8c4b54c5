import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.errors import ConfigError
from meddistill.pacing import ConfidenceHistogram, threshold_for_fraction

confidences = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60).map(torch.tensor)
fractions = st.floats(0, 1)


def kept(values: torch.Tensor, threshold: float) -> float:
    return (values >= threshold).double().mean().item()


@given(values=confidences, fraction=fractions)
@settings(max_examples=60)
def test_is_the_largest_of_the_thresholds_that_keeps_enough(values, fraction):
    found = threshold_for_fraction(values, fraction)
    assert kept(values, found) >= fraction
    assert found == max(
        [rank / 1000 for rank in range(1000) if kept(values, rank / 1000) > fraction], default=0
    )


@given(values=confidences, fraction=fractions)
@settings(max_examples=40)
def test_rounded_as_released_it_keeps_the_fraction_within_half_a_thousandth(values, fraction):
    found = threshold_for_fraction(values, fraction, rounding="reference")
    assert kept(values, found) >= fraction - 0.0005 - 1e-9


def test_rounding_can_go_either_way():
    values = torch.cat([torch.full((2999,), 0.3005), torch.full((7001,), 0.9005)])  # 70.01 % are sure
    assert threshold_for_fraction(values, 0.7) == 0.9
    assert threshold_for_fraction(values, 0.7, rounding="reference") == 0.3


def test_the_released_search_never_tries_the_first_bin():
    values = torch.full((10,), 0.0015)
    assert threshold_for_fraction(values, 0.5) == 0.001
    assert threshold_for_fraction(values, 0.5, rounding="reference") == 0.0


def test_a_value_on_an_edge_is_kept_by_that_edge():
    edges = torch.arange(1000, dtype=torch.float64) / 1000
    for values in (edges, edges.float()):
        histogram = ConfidenceHistogram()
        histogram.update(values)
        assert histogram.counts.tolist() == [1] * 1000
        assert histogram.kept_fraction(0.7) == kept(values, 0.7) == 0.3


def test_certainty_counts_in_the_last_bin():
    assert threshold_for_fraction(torch.ones(5), 0.9) == 0.999


@given(values=confidences, size=st.integers(1, 10))
@settings(max_examples=25)
def test_batches_add_up(values, size):
    whole, parts = ConfidenceHistogram(), ConfidenceHistogram()
    whole.update(values)
    for part in values.split(size):
        parts.update(part)
    assert torch.equal(whole.counts, parts.counts)
    assert whole.total == len(values)


def test_memory_does_not_grow_with_the_pixels():
    histogram = ConfidenceHistogram()
    for _ in range(3):
        histogram.update(torch.rand(4, 50, 50))
        assert histogram.counts.shape == (1000,)
        assert set(vars(histogram)) == {"bins", "counts"}


def test_invalid_pixels_are_left_out():
    histogram = ConfidenceHistogram(bins=10)
    histogram.update(torch.tensor([[0.15, 0.95]]), torch.tensor([[False, True]]))
    assert histogram.total == 1
    assert histogram.threshold(0.5) == 0.9
    assert histogram.kept_fraction(0.2) == 1.0


def test_share_kept_between_two_edges():
    histogram = ConfidenceHistogram(bins=4)
    histogram.update(torch.tensor([0.1, 0.3, 0.6, 0.8]))
    assert [histogram.kept_fraction(t) for t in (0.0, 0.2, 0.25, 0.3, 1.0)] == [1.0, 0.75, 0.75, 0.5, 0.0]


def test_low_precision_is_counted():
    histogram = ConfidenceHistogram()
    histogram.update(torch.tensor([0.5], dtype=torch.bfloat16))
    assert histogram.counts[500] == 1


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="the histogram is empty"):
        threshold_for_fraction(torch.zeros(0), 0.5)
    with pytest.raises(ConfigError, match=r"fraction must lie in 0..1, got 1.5"):
        threshold_for_fraction(torch.rand(4), 1.5)
    with pytest.raises(ConfigError, match="unknown rounding"):
        threshold_for_fraction(torch.rand(4), 0.5, rounding="up")
    with pytest.raises(ConfigError, match="bins must be a whole number"):
        ConfidenceHistogram(0)
    with pytest.raises(ValueError, match=r"valid \(3,\) does not fit confidences \(4,\)"):
        ConfidenceHistogram().update(torch.rand(4), torch.ones(3).bool())
