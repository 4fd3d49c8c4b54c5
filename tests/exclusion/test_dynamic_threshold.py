import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.exclusion import Answers, DynamicThreshold
from meddistill.exclusion.dynamic_threshold import relative_frequency, threshold
from tests.exclusion.answers import square

cases = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 99)), min_size=1, max_size=40)


def table(rows: list[tuple[int, int]]) -> torch.Tensor:
    """Rows of class and confidence in percent."""
    return torch.tensor([[k, c / 100] for k, c in rows], dtype=torch.float32)


def iterated(measured: torch.Tensor, tau: float) -> torch.Tensor | None:
    """Thresholds and selection in turn, from A = 1; None where they do not come to rest."""
    classes, confidence = measured[:, 0].long(), measured[:, 1]
    counts = torch.zeros(4)
    before = None
    for _ in range(200):
        bars = threshold(relative_frequency(counts), tau)
        kept = confidence > bars[classes]
        if before is not None and torch.equal(kept, before):
            return kept
        before, counts = kept, classes[kept].bincount(minlength=4).float()
    return None


@given(rows=cases, tau=st.sampled_from([0.5, 0.8, 0.95]))
@settings(max_examples=60)
def test_iteration_from_equal_frequencies_ends_at_the_same_selection(rows, tau):
    measured = table(rows)
    expected = iterated(measured, tau)
    tied = len(set(rows)) < len(rows)
    if expected is not None and expected.any() and not tied:
        assert torch.equal(DynamicThreshold(tau=tau).keeps(measured), expected)


@given(rows=cases, tau=st.sampled_from([0.5, 0.8, 0.95]))
@settings(max_examples=60)
def test_every_selected_case_is_above_the_threshold_that_the_selection_gives(rows, tau):
    measured = table(rows)
    classes, confidence = measured[:, 0].long(), measured[:, 1]
    kept = DynamicThreshold(tau=tau).keeps(measured)
    bars = threshold(relative_frequency(classes[kept].bincount(minlength=4)), tau)
    assert bool((confidence > bars[classes])[kept].all())
    assert bool(kept[confidence > tau].all())


def test_a_rare_class_needs_less_confidence():
    """M = 4 cases of class 1 are above 0.95. Class 2: the first alone needs 0.95 / 7 = 0.136 (A = 1/4), both
    0.317 (A = 1/2), all three 0.57 (A = 3/4)."""
    rows = [(1, 96), (1, 97), (1, 98), (1, 99), (1, 90), (2, 60), (2, 50), (2, 40)]
    kept = DynamicThreshold().keeps(table(rows))
    assert kept.tolist() == [True, True, True, True, False, True, True, False]


def test_where_iteration_goes_round_in_circles():
    """Class 2 has one case above 0.95, so that its threshold falls to 0.14 and lets all in, and so on."""
    rows = [(1, 96), (1, 97), (1, 98), (1, 99), (2, 99), (2, 50), (2, 45), (2, 44), (2, 43)]
    assert iterated(table(rows), 0.95) is None
    kept = DynamicThreshold().keeps(table(rows))
    assert kept.tolist() == [True, True, True, True, True, True, False, False, False]


def test_nothing_is_selected_where_nobody_is_sure():
    measured = table([(1, 90), (2, 94)])
    assert not DynamicThreshold().keeps(measured).any()
    assert DynamicThreshold().relax(measured) == "the highest confidence is 0.94; lower tau below 0.939"
    assert DynamicThreshold(tau=0.938).keeps(measured).any()


def test_a_sure_mask_stays_and_an_unsure_one_goes():
    rule = DynamicThreshold()
    measured = torch.cat([rule.measure(Answers(square(inside=p))) for p in (0.99, 0.6)])
    assert measured[:, 1].tolist() == pytest.approx([0.99, 0.6])
    assert rule.keeps(measured).tolist() == [True, False]
