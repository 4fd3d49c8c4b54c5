import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meddistill.errors import ConfigError
from meddistill.methods.teacher_draw import TeacherDraw

PAPER = (0.7, 0.2, 0.09, 0.01)
WEIGHTS = st.lists(st.floats(0.01, 10), min_size=1, max_size=6)


@given(WEIGHTS, st.integers(1, 8), st.integers(0, 2**31))
def test_every_draw_is_a_permutation_of_the_scaled_weights(weights, teachers, seed):
    draw = TeacherDraw(weights)
    scaled = draw.scaled(teachers)
    found = draw(teachers, np.random.default_rng(seed))
    assert sorted(found) == sorted(scaled)
    assert sum(scaled) == pytest.approx(1.0)
    used = weights[:teachers]
    assert scaled[: len(used)] == pytest.approx([weight / sum(used) for weight in used])
    assert scaled[len(used) :] == (0.0,) * (teachers - len(used))


@pytest.mark.parametrize("teachers", [1, 2, 4, 6])
@pytest.mark.parametrize("kind", ["permute", "dirichlet", "uniform"])
def test_every_teacher_counts_alike_in_the_long_run(kind, teachers):
    """The mean of n draws lies within five standard errors of 1 / M; no draw spreads further than 0..1."""
    draw, generator, count = TeacherDraw(PAPER, kind), np.random.default_rng(3), 4000
    drawn = np.array([draw(teachers, generator) for _ in range(count)])
    assert np.allclose(drawn.sum(1), 1)
    error = drawn.std(0) / math.sqrt(count)
    assert (np.abs(drawn.mean(0) - 1 / teachers) <= 5 * error + 1e-12).all()


def test_each_order_of_four_teachers_is_drawn():
    draw, generator = TeacherDraw(PAPER), np.random.default_rng(0)
    assert len({draw(4, generator) for _ in range(400)}) == 24


def test_uniform_weights_are_no_draw():
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    assert TeacherDraw(PAPER, "uniform")(3, generator) == (1 / 3,) * 3
    assert generator.bit_generator.state == before


def test_a_concentrated_dirichlet_draw_is_nearly_uniform():
    few, many = (TeacherDraw(PAPER, "dirichlet", c)(4, np.random.default_rng(0)) for c in (1.0, 1e4))
    assert max(abs(w - 0.25) for w in many) < 0.02 < max(abs(w - 0.25) for w in few)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": []}, "weights must be numbers of 0 or more, the first above 0"),
        ({"weights": [0.0, 1.0]}, r"the first above 0, such as .*; got \[0.0, 1.0\]"),
        ({"weights": [1.0, -0.1]}, "weights must be numbers"),
        ({"weights": [1.0, math.inf]}, "weights must be numbers"),
        ({"weights": "0.7"}, "weights must be numbers"),
        ({"draw": "permut"}, "unknown draw 'permut'; did you mean 'permute'"),
        ({"concentration": 0}, "concentration must be a number above 0, got 0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        TeacherDraw(**options)
