import pytest
from hypothesis import given
from hypothesis import strategies as st

from meddistill.errors import ConfigError
from meddistill.pacing import LinearPacing, RisingPacing


def as_released(start: float, epochs: int, full_at: float, every: int) -> list[float]:
    """The released training loop: subtract a step after epochs k, 2k, ..."""
    mu, used = start, []
    step = start / (epochs * full_at / every)
    for epoch in range(epochs):
        used.append(mu)
        if epoch % every == 0 and epoch != 0:
            mu = max(mu - step, 0)
    return used


@pytest.mark.parametrize(
    ("epochs", "full_at", "every"), [(150, 0.8, 5), (100, 0.5, 5), (30, 0.7, 4), (12, 1.0, 1)]
)
def test_linear_pacing_follows_the_released_loop(epochs, full_at, every):
    pacing = LinearPacing(0.652, epochs, full_at, every)
    ours = [pacing.threshold(epoch) for epoch in range(epochs)]
    assert ours == pytest.approx(as_released(0.652, epochs, full_at, every), abs=1e-9)


@given(start=st.floats(0, 1), every=st.integers(1, 10), steps=st.integers(1, 30), full_at=st.floats(0.05, 1))
def test_linear_pacing_ends_at_exactly_zero(start, every, steps, full_at):
    epochs = max(1, round(every * steps / full_at))
    full_at = every * steps / epochs
    pacing = LinearPacing(start, epochs, full_at, every)
    assert pacing.threshold(0) == start
    assert pacing.threshold(every * steps) == pytest.approx(start / steps)
    assert pacing.threshold(every * steps + 1) == 0


@given(
    start=st.floats(0, 1), epochs=st.integers(1, 200), full_at=st.floats(0.01, 3), every=st.integers(1, 20)
)
def test_linear_pacing_never_rises(start, epochs, full_at, every):
    pacing = LinearPacing(start, epochs, full_at, every)
    course = [pacing.threshold(epoch) for epoch in range(epochs)]
    assert course == sorted(course, reverse=True)
    assert all(0 <= threshold <= 1 for threshold in course)


def test_rising_pacing_follows_the_released_loop():
    mu, used = 0.39, []
    for epoch in range(1, 41):  # counted from 1 in that code
        used.append(mu)
        if not epoch % 5:
            mu = min(mu + 0.183, 1)
    pacing = RisingPacing(0.39, 0.183, 5)
    assert [pacing.admitted(epoch) for epoch in range(40)] == pytest.approx(used)
    assert [pacing.threshold(epoch) for epoch in range(40)] == pytest.approx([1 - mu for mu in used])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.2, 10, 0.8, 5), "start must lie in 0..1"),
        ((0.5, 0, 0.8, 5), "epochs must be a whole number"),
        ((0.5, 10, 0.0, 5), "full_at must be a number above 0"),
        ((0.5, 10, 0.8, 0), "every must be a whole number"),
    ],
)
def test_impossible_linear_pacing_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        LinearPacing(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((-0.1, 0.1, 5), "start"), ((0.2, 0.0, 5), "step"), ((0.2, 0.1, 2.5), "every")],
)
def test_impossible_rising_pacing_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        RisingPacing(*arguments)
