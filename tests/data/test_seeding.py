from hypothesis import given
from hypothesis import strategies as st

from meddistill.data.seeding import mixed_seed

numbers = st.integers(-(2**63), 2**63)


@given(st.lists(numbers, max_size=4))
def test_seed_fits_every_generator(values):
    assert 0 <= mixed_seed(*values) < 2**32


def test_neighbours_get_different_seeds():
    grid = {mixed_seed(seed, epoch, index) for seed in range(5) for epoch in range(20) for index in range(50)}
    assert len(grid) == 5000


def test_value_is_fixed_for_resumed_runs():
    assert mixed_seed(0, 1, 2) == 4109595479
