import math
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meddistill.data.subsets import describe_subsets, overlapping_subsets
from meddistill.errors import ConfigError, DataError

FRACTIONS = st.floats(0.2, 1.0)
SEEDS = st.integers(0, 2**31)


def either_side(size, fraction):
    """A share of `size`, rounded down or up."""
    return {math.floor(size * fraction + 1e-6), math.ceil(size * fraction - 1e-6)}


@given(st.lists(st.sampled_from("abc"), min_size=10, max_size=60), FRACTIONS, st.integers(1, 5), SEEDS)
def test_each_subset_has_its_share_of_all_and_of_every_stratum(strata, fraction, count, seed):
    subsets = overlapping_subsets(len(strata), count, fraction=fraction, seed=seed, strata=strata)
    assert len(subsets) == count
    for subset in subsets:
        assert list(subset) == sorted(set(subset))
        assert len(subset) in either_side(len(strata), fraction)
        there = Counter(strata[position] for position in subset)
        for name, size in Counter(strata).items():
            # the run of a stratum begins and ends within the steps of the sample
            assert size * fraction - 1 <= there[name] <= size * fraction + 1


@given(st.lists(st.sampled_from("abcdefghij"), min_size=12, max_size=40), FRACTIONS, SEEDS)
def test_groups_stay_together(groups, fraction, seed):
    for subset in overlapping_subsets(groups + list("abcdefghij"), 3, fraction=fraction, seed=seed):
        names = groups + list("abcdefghij")
        inside = {names[position] for position in subset}
        assert inside.isdisjoint(names[position] for position in range(len(names)) if position not in subset)
        assert len(inside) in either_side(10, fraction)


@given(st.permutations(range(20)), SEEDS)
def test_the_order_of_the_cases_does_not_matter(order, seed):
    names, strata = [f"case {n}" for n in range(20)], ["xy"[n % 2] for n in range(20)]
    first = overlapping_subsets(names, 3, seed=seed, strata=strata)
    moved_names, moved_strata = [names[n] for n in order], [strata[n] for n in order]
    moved = overlapping_subsets(moved_names, 3, seed=seed, strata=moved_strata)
    assert [{names[p] for p in subset} for subset in first] == [
        {moved_names[p] for p in subset} for subset in moved
    ]


@pytest.mark.parametrize("fraction", [0.3, 0.7])
def test_two_subsets_share_the_square_of_the_fraction(fraction):
    """200 seeds of 3 subsets of 60 groups in three strata of unequal size: mean overlap r^2, share of r."""
    strata = ["a"] * 40 + ["b"] * 15 + ["c"] * 5
    overlaps, member = [], Counter()
    for seed in range(200):
        subsets = overlapping_subsets(60, 3, fraction=fraction, seed=seed, strata=strata)
        overlaps += [len(set(one) & set(other)) / 60 for one, other in combinations(subsets, 2)]
        member.update(position for subset in subsets for position in subset)
    error = math.sqrt(fraction**2 * (1 - fraction**2) / 60 / len(overlaps))
    assert abs(sum(overlaps) / len(overlaps) - fraction**2) < 6 * error
    for position in range(60):
        bound = 6 * math.sqrt(600 * fraction * (1 - fraction))
        assert abs(member[position] - 600 * fraction) < bound


def test_more_subsets_and_other_seeds():
    three, five = (overlapping_subsets(40, count, seed=1) for count in (3, 5))
    assert five[:3] == three
    assert len(set(five)) == 5
    assert overlapping_subsets(40, 3, seed=2) != three


def test_the_whole_set_is_a_subset_of_itself():
    assert overlapping_subsets(5, 2, fraction=1) == (tuple(range(5)),) * 2


def test_the_description_counts():
    subsets = overlapping_subsets(50, 3, fraction=0.5, seed=4)
    described = describe_subsets(subsets, 50)
    assert described["sizes"] == [25, 25, 25]
    assert described["overlaps"]["0-2"] == len(set(subsets[0]) & set(subsets[2])) / 50
    assert described["in_none"] == sum(all(n not in subset for subset in subsets) for n in range(50))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((10, 0), {}, ConfigError, "count of subsets must be a whole number of at least 1, got 0"),
        ((10, 2), {"fraction": 0}, ConfigError, "fraction of a subset must be above 0 and at most 1, got 0"),
        ((10, 2), {"fraction": 1.1}, ConfigError, "at most 1, got 1.1"),
        ((10, 2), {"strata": ["a"]}, ConfigError, "there are 1 strata for 10 cases"),
        ((0, 1), {}, DataError, "a subset of 0.7 of 0 groups is empty"),
    ],
)
def test_what_cannot_be_is_refused(arguments, options, error, words):
    with pytest.raises(error, match=words):
        overlapping_subsets(*arguments, **options)
