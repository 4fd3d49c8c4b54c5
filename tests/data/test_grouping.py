from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.data import Case
from meddistill.data.grouping import group_of, share_out, take_share


@st.composite
def grouped_cases(draw):
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=30))
    strata = draw(st.lists(st.sampled_from("abc"), min_size=len(sizes), max_size=len(sizes)))
    return [
        Case(f"p{group}/{n}", group=f"p{group}", stratum=strata[group])
        for group, size in enumerate(sizes)
        for n in range(size)
    ]


def groups(cases):
    return {group_of(case) for case in cases}


@settings(max_examples=80)
@given(grouped_cases(), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 99))
def test_a_smaller_share_is_a_part_of_a_larger_one(cases, first, second, seed):
    small, large = sorted((first, second))
    taken = [take_share(cases, share, salt=str(seed)) for share in (small, large)]
    assert groups(taken[0]) <= groups(taken[1])
    for share, found in zip((small, large), taken, strict=True):
        assert len(groups(found)) == max(1, round(share * len(groups(cases))))
        assert found == [case for case in cases if group_of(case) in groups(found)]


@settings(max_examples=40)
@given(grouped_cases(), st.floats(0.01, 1), st.randoms(use_true_random=False))
def test_a_share_does_not_depend_on_the_order(cases, share, shuffler):
    mixed = list(cases)
    shuffler.shuffle(mixed)
    assert groups(take_share(mixed, share, salt="x")) == groups(take_share(cases, share, salt="x"))


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 40), min_size=1), st.floats(0.05, 1))
def test_a_share_keeps_the_strata_in_proportion(counts, share):
    cases = [Case(f"{s}{n}", stratum=s) for s, count in counts.items() for n in range(count)]
    taken = Counter(case.stratum for case in take_share(cases, share, salt="7"))
    for stratum, count in counts.items():
        assert abs(taken[stratum] - share * count) <= 1 + len(counts) / 2


def test_a_group_counts_for_the_stratum_of_most_of_its_cases():
    cases = [Case(f"{g}{n}", group=g, stratum="a" if n else g) for g in "bcde" for n in range(3)]
    assert len(groups(take_share(cases, 0.5, salt="0"))) == 2


def test_nothing_has_no_share():
    assert take_share([], 0.5, salt="0") == []


def test_the_salt_draws_the_share():
    cases = [Case(str(n)) for n in range(40)]
    drawn = [take_share(cases, 0.5, salt=salt) for salt in ("0", "0", "1")]
    assert drawn[0] == drawn[1] != drawn[2]


@settings(max_examples=60)
@given(grouped_cases(), st.integers(2, 4), st.integers(0, 99))
def test_parts_are_disjoint_and_cover_everything(cases, of, seed):
    parts = share_out(cases, {str(n): 1 / of for n in range(of)}, salt=str(seed))
    ids = [case.id for part in parts.values() for case in part]
    assert sorted(ids) == sorted(case.id for case in cases)
    assert sum(len(groups(part)) for part in parts.values()) == len(groups(cases))


@pytest.mark.parametrize("of", [2, 3, 5])
def test_parts_are_balanced_by_stratum(of):
    cases = [Case(f"{s}{n}", stratum=s) for s, count in (("a", 60), ("b", 30)) for n in range(count)]
    parts = share_out(cases, {str(n): 1 / of for n in range(of)}, salt="3")
    for part in parts.values():
        counts = Counter(case.stratum for case in part)
        assert abs(counts["a"] - 60 / of) <= 1
        assert abs(counts["b"] - 30 / of) <= 1
