from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meddistill.data.mixed_sampler import MixedSampler
from meddistill.errors import ConfigError

POOLS = st.tuples(st.integers(1, 12), st.integers(1, 30))
SHARES = st.tuples(st.integers(1, 5), st.integers(0, 5))


def sampler(full=5, weak=11, shares=(2, 3), **arguments):
    """`full` cases 0, 1, ... and `weak` cases 100, 101, ..."""
    pools = range(full), range(100, 100 + weak)
    options = {"seed": 0, "batch_size": sum(shares), "full_per_batch": shares[0], **arguments}
    return MixedSampler(*pools, **options)


def epochs(made, count, first=0):
    batches = []
    for epoch in range(first, first + count):
        made.set_epoch(epoch)
        found = list(made)
        assert len(found) == len(made)
        batches += found
    return batches


@given(POOLS, SHARES, st.integers(0, 5))
def test_every_batch_has_the_set_ratio(pools, shares, epoch):
    for batch in epochs(sampler(*pools, shares), 1, epoch):
        kinds = [index >= 100 for _, index in batch]
        assert kinds == [False] * shares[0] + [True] * shares[1]


@given(POOLS, SHARES, st.integers(0, 9))
def test_each_pool_is_passed_through_without_repeats(pools, shares, seed):
    keys = [key for batch in epochs(sampler(*pools, shares, seed=seed), 6) for key in batch]
    for size, mine in zip(
        pools, ([k for k in keys if k[1] < 100], [k for k in keys if k[1] >= 100]), strict=True
    ):
        assert len(set(mine)) == len(mine)
        assert [number for number, _ in mine] == [place // size for place in range(len(mine))]
        for number in range(len(mine) // size):
            passed = [index % 100 for found, index in mine if found == number]
            assert sorted(passed) == list(range(size))


@given(POOLS, SHARES)
def test_an_epoch_shows_the_weak_pool_once(pools, shares):
    made = sampler(*pools, shares)
    size, share = (pools[1], shares[1]) if shares[1] else (pools[0], shares[0])
    assert (len(made) - 1) * share < size <= len(made) * share


@given(POOLS, SHARES, st.integers(1, 7), st.integers(0, 5))
def test_a_resumed_run_sees_the_same_batches(pools, shares, steps, epoch):
    made = sampler(*pools, shares, steps=steps)
    whole = epochs(made, 8)
    assert len(whole) == 8 * steps
    assert (
        epochs(sampler(*pools, shares, steps=steps), 2, epoch) == whole[epoch * steps : (epoch + 2) * steps]
    )


@given(POOLS, SHARES, st.integers(1, 4), st.integers(0, 3))
def test_processes_together_see_the_single_process(pools, shares, world_size, epoch):
    shares = tuple(share * world_size for share in shares)
    whole = epochs(sampler(*pools, shares), 1, epoch)
    parts = [
        epochs(sampler(*pools, shares, rank=rank, world_size=world_size), 1, epoch)
        for rank in range(world_size)
    ]
    for batch, *mine in zip(whole, *parts, strict=True):
        assert Counter(key for part in mine for key in part) == Counter(batch)
        ratios = {sum(index < 100 for _, index in part) for part in mine}
        assert ratios == {shares[0] // world_size}


def test_orders_change_from_pass_to_pass_and_with_the_seed():
    made = sampler(full=20, weak=20, shares=(20, 20))
    first, second = epochs(made, 2)
    assert [index for _, index in first] != [index for _, index in second]
    assert [index % 100 for _, index in first[:20]] != [index % 100 for _, index in first[20:]]
    assert epochs(sampler(full=20, weak=20, shares=(20, 20), seed=1), 1)[0] != first


def test_a_case_that_comes_again_in_an_epoch_has_another_key():
    [batch] = epochs(sampler(full=1, weak=2, shares=(3, 2)), 1)
    assert batch[:3] == [(0, 0), (1, 0), (2, 0)]


def test_weak_cases_are_never_drawn_when_all_of_a_batch_is_full():
    made = sampler(full=6, weak=50, shares=(4, 0))
    assert len(made) == 2
    assert {index for batch in epochs(made, 3) for _, index in batch} == set(range(6))
    assert len(sampler(full=6, weak=0, shares=(4, 0))) == 2


def test_lightning_finds_set_epoch():
    from lightning.fabric.utilities.data import _set_sampler_epoch
    from torch.utils.data import DataLoader

    made = sampler()
    _set_sampler_epoch(DataLoader(range(200), batch_sampler=made), 7)
    assert made.epoch == 7


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"full": 0}, "no training case is fully labelled"),
        ({"weak": 0}, "all training cases are fully labelled, but 3 of 5 in a batch should be weakly"),
        ({"full_per_batch": 0}, "needs 1 to batch_size full cases"),
        ({"full_per_batch": 6}, "needs 1 to batch_size full cases"),
        ({"steps": 0}, "at least 1 step"),
        ({"steps": -1}, "at least 1 step"),
        ({"rank": 1}, "a rank below the world size"),
        ({"world_size": 2}, "2 full and 3 weak cases in a batch do not both divide by 2 processes"),
    ],
)
def test_what_cannot_be_is_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        sampler(**wrong)
