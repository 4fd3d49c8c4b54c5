import pytest
from hypothesis import given
from hypothesis import strategies as st

from meddistill.data.sampler import EpochSampler
from meddistill.errors import ConfigError


def batches(num_cases, epoch=0, **arguments):
    sampler = EpochSampler(num_cases, **{"seed": 0, "shuffle": True, "batch_size": 4, **arguments})
    sampler.set_epoch(epoch)
    result = list(sampler)
    assert len(result) == len(sampler)
    return result


@given(st.integers(1, 50), st.integers(1, 12), st.integers(0, 9), st.booleans())
def test_every_case_once_and_full_batches(num_cases, batch_size, epoch, shuffle):
    result = batches(num_cases, epoch, batch_size=batch_size, shuffle=shuffle)
    keys = [key for batch in result for key in batch]
    assert {key[0] for key in keys} == {epoch}
    assert sorted(key[1] for key in keys) == list(range(num_cases))
    assert all(len(batch) == batch_size for batch in result[:-1])


@given(st.integers(1, 50), st.integers(1, 4), st.integers(1, 5), st.integers(0, 3))
def test_ranks_together_see_the_single_process_batch(num_cases, per_rank, world_size, seed):
    size = per_rank * world_size
    whole = batches(num_cases, seed=seed, batch_size=size)
    ranks = [
        batches(num_cases, seed=seed, batch_size=size, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for step, expected in enumerate(whole):
        parts = [rank[step] for rank in ranks]
        joined = [key for part in parts for key in part]
        assert len({len(part) for part in parts}) == 1
        assert joined[: len(expected)] == expected
        assert len(joined) - len(expected) < world_size


def test_padding_wraps_round_to_the_start():
    arguments = {"shuffle": False, "batch_size": 4, "world_size": 4}
    assert [batches(5, rank=rank, **arguments)[-1] for rank in range(4)] == [
        [(0, 4)],
        [(0, 0)],
        [(0, 1)],
        [(0, 2)],
    ]


def test_order_depends_on_seed_and_epoch_alone():
    sampler = EpochSampler(30, seed=1, shuffle=True, batch_size=30)
    sampler.set_epoch(3)
    third = list(sampler)
    assert list(sampler) == third
    sampler.set_epoch(0)
    first = list(sampler)
    sampler.set_epoch(3)
    assert list(sampler) == third == batches(30, epoch=3, seed=1, batch_size=30)
    assert [key[1] for key in first[0]] != [key[1] for key in third[0]]
    assert third != batches(30, epoch=3, seed=2, batch_size=30)


def test_without_shuffling_the_order_is_fixed():
    assert [key[1] for batch in batches(6, 5, shuffle=False) for key in batch] == [0, 1, 2, 3, 4, 5]


def test_lightning_finds_set_epoch():
    from lightning.fabric.utilities.data import _set_sampler_epoch
    from torch.utils.data import DataLoader

    sampler = EpochSampler(6, seed=0, shuffle=True, batch_size=2)
    _set_sampler_epoch(DataLoader(range(6), batch_sampler=sampler), 7)
    assert sampler.epoch == 7


@pytest.mark.parametrize(
    "wrong", [{"num_cases": 0}, {"batch_size": 0}, {"rank": 1}, {"rank": -1}, {"world_size": 0}]
)
def test_numbers_out_of_range(wrong):
    with pytest.raises(ConfigError, match="a sampler needs cases"):
        EpochSampler(**{"num_cases": 5, "seed": 0, "shuffle": True, "batch_size": 4, **wrong})


def test_batch_must_divide():
    with pytest.raises(ConfigError, match="batch_size 5 does not divide by 2 processes"):
        EpochSampler(9, seed=0, shuffle=True, batch_size=5, world_size=2)
