import random
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.data import SPLITS, Case, FolderSource, Split, check_no_leak, split_cases
from meddistill.errors import ConfigError, DataError
from tests.data.builders import busi_tree, write_json

FRACTIONS = {"train": 0.6, "selection": 0.15, "calibration": 0.05, "test": 0.2}


def source_of(cases):
    return SimpleNamespace(cases=tuple(cases))


def singles(counts):
    return [Case(f"{s}{n}", group=f"{s}{n}", stratum=s) for s, count in counts.items() for n in range(count)]


def ids(split):
    return {name: [case.id for case in cases] for name, cases in split.cases.items()}


@st.composite
def grouped_cases(draw):
    sizes = draw(st.lists(st.integers(1, 6), min_size=12, max_size=40))
    strata = st.sampled_from("abc")
    return [
        Case(f"p{group}/{n}", group=f"p{group}", stratum=draw(strata))
        for group, size in enumerate(sizes)
        for n in range(size)
    ]


@settings(max_examples=60)
@given(grouped_cases(), st.integers(0, 1000), st.randoms(use_true_random=False))
def test_groups_stay_whole_and_order_does_not_matter(cases, seed, shuffler):
    fractions = {"train": 0.6, "selection": 0.2, "test": 0.2}
    split = split_cases(source_of(cases), fractions=fractions, seed=seed)
    check_no_leak(split)
    assert sorted(case.id for part in split.cases.values() for case in part) == sorted(c.id for c in cases)
    mixed = list(cases)
    shuffler.shuffle(mixed)
    assert ids(split_cases(source_of(mixed), fractions=fractions, seed=seed)) == ids(split)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from("abcd"), st.integers(20, 60), min_size=1), st.integers(0, 1000))
def test_single_cases_come_close_to_the_fractions_in_each_stratum(counts, seed):
    split = split_cases(source_of(singles(counts)), fractions=FRACTIONS, seed=seed)
    for name, share in FRACTIONS.items():
        got = Counter(case.stratum for case in split.cases[name])
        for stratum, count in counts.items():
            assert abs(got[stratum] - share * count) < len(FRACTIONS)
        assert abs(len(split.cases[name]) - share * sum(counts.values())) <= 1.5


def test_strata_of_one_case_are_shared_out_too():
    cases = [Case(str(n), stratum=str(n)) for n in range(10)]
    split = split_cases(source_of(cases), fractions={"train": 0.8, "selection": 0.1, "test": 0.1})
    assert [len(split.cases[name]) for name in SPLITS] == [8, 1, 0, 1]


def test_unequal_groups_come_close_overall():
    shuffler = random.Random(3)
    cases = [
        Case(f"{group}-{n}", group=f"{group}", stratum=shuffler.choice("ab"))
        for group in range(40)
        for n in range(shuffler.randint(5, 30))
    ]
    for seed in range(10):
        split = split_cases(source_of(cases), fractions={"train": 0.7, "test": 0.3}, seed=seed)
        assert abs(len(split.cases["test"]) / len(cases) - 0.3) < 0.04


def test_seed_changes_the_division():
    source = source_of(singles({"a": 40}))
    divisions = [ids(split_cases(source, fractions=FRACTIONS, seed=seed)) for seed in (0, 0, 1)]
    assert divisions[0] == divisions[1] != divisions[2]


def test_lists_with_and_without_endings_and_carving(tmp_path):
    source = FolderSource(busi_tree(tmp_path / "d", per_class=10))
    names = [case.id for case in source.cases]
    train = write_json(tmp_path / "train.json", [f"{name}.png" for name in names if "(1)" not in name][:-1])
    test = write_json(tmp_path / "test.json", [name for name in names if "(1)" in name])
    split = split_cases(
        source, files={"train": train, "test": test}, carve={"selection": 0.25, "calibration": 0.2}, seed=4
    )
    assert ids(split)["test"] == ["benign/benign (1)", "malignant/malignant (1)", "normal/normal (1)"]
    assert {name: len(cases) for name, cases in split.cases.items()} == {
        "train": 14,
        "selection": 7,
        "calibration": 5,
        "test": 3,
    }
    assert "train by train.json, test by test.json" in split.note
    assert "seed 4" in split.note
    assert split.note.endswith("train 14, selection 7, calibration 5, test 3, 1 in no split")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ('{"train": []}', "a split list is a JSON list"),
        ("[1, 2]", "a split list is a JSON list"),
        ('["a0", "b.png", "c", "d", "e"]', "4 unknown cases: b, c, d and 1 more"),
        ('["a0", "a0.png"]', "listed more than once: a0"),
        ("\x00\xff", "not JSON"),
    ],
)
def test_wrong_lists_are_named(tmp_path, content, message):
    path = tmp_path / "list.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=rf"list\.json: .*{message}"):
        split_cases(source_of(singles({"a": 3})), files={"train": path})


def test_missing_list_and_a_case_in_two_lists(tmp_path):
    source = source_of(singles({"a": 3}))
    with pytest.raises(DataError, match=r"none\.json: the split list cannot be read"):
        split_cases(source, files={"train": tmp_path / "none.json"})
    first = write_json(tmp_path / "first.json", ["a0", "a1"])
    second = write_json(tmp_path / "second.json", ["a1", "a2"])
    with pytest.raises(DataError, match=r"second\.json: also listed for train: a1"):
        split_cases(source, files={"train": first, "test": second})


def test_split_of_the_source_itself():
    cases = [Case("a", split="train"), Case("b", split="train"), Case("c", split="test")]
    split = split_cases(source_of(cases))
    assert ids(split) == {"train": ["a", "b"], "selection": [], "calibration": [], "test": ["c"]}
    with pytest.raises(DataError, match="no split is given for d"):
        split_cases(source_of([*cases, Case("d")]))
    with pytest.raises(ConfigError, match="the data name no splits: give lists"):
        split_cases(source_of([Case("d")]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fractions": {"train": 0.5, "test": 0.4}}, "must add up to 1, not 0.9"),
        ({"fractions": {"train": 1.2, "test": -0.2}}, "share of 'train'"),
        ({"fractions": {"train": 0.5, "val": 0.5}}, "unknown split 'val'"),
        ({"fractions": {"train": 1.0}, "files": {}}, "not both"),
        ({"fractions": {"train": 1.0}, "carve": {"train": 0.5}}, "cannot carve 'train'"),
        ({"fractions": {"train": 0.5, "test": 0.5}, "carve": {"test": 0.5}}, "cannot carve 'test'"),
        ({"fractions": {"train": 1.0}, "carve": {"test": 0.5, "selection": 0.5}}, "leave some"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        split_cases(source_of(singles({"a": 20})), **arguments)


def test_too_few_groups_are_named():
    cases = [Case(str(n), group="one patient") for n in range(10)]
    with pytest.raises(DataError, match=r"split 'test' got no case: there are too few groups .1."):
        split_cases(source_of(cases), fractions={"train": 0.8, "test": 0.2})


def test_leaking_groups_are_named():
    parts = {
        "train": (Case("1", group="ALWI"), Case("2", group="BORE"), Case("3")),
        "selection": (Case("4", group="BORE"),),
        "test": (Case("5", group="ALWI"), Case("3")),
    }
    with pytest.raises(DataError) as caught:
        check_no_leak(Split(parts))
    assert "3 (train, test), ALWI (train, test), BORE (train, selection)" in str(caught.value)
    check_no_leak(Split({"train": parts["train"], "test": (Case("6", group="CUBA"),)}))


def test_the_order_in_which_fractions_are_written_does_not_matter():
    cases = tuple(Case(id=f"case {number}") for number in range(20))
    shares = {"train": 0.5, "selection": 0.2, "calibration": 0.1, "test": 0.2}
    source = SimpleNamespace(cases=cases)
    written = split_cases(source, fractions=shares, seed=3)
    turned = split_cases(source, fractions=dict(reversed(shares.items())), seed=3)
    assert written.cases == turned.cases


def test_parts_come_before_carving_and_leave_the_test_split_alone():
    source = source_of(singles({"a": 60, "b": 30}))
    fractions = {"train": 0.8, "test": 0.2}
    whole = split_cases(source, fractions=fractions, seed=2)
    parts = [
        split_cases(source, fractions=fractions, part=(n, 3), carve={"selection": 0.25}, seed=2)
        for n in range(3)
    ]
    found = [{*part.cases["train"], *part.cases["selection"]} for part in parts]
    assert set().union(*found) == set(whole.cases["train"])
    assert sum(map(len, found)) == len(whole.cases["train"]) == 72
    for number, part in enumerate(parts):
        assert len(part.cases["selection"]) == 6
        assert part.cases["test"] == whole.cases["test"]
        assert f"train is part {number} of 3 (from 0), seed 2" in part.note
        assert part.note.endswith("48 in no split")
        check_no_leak(part)


def test_other_seeds_give_other_parts():
    source = source_of(singles({"a": 40}))
    parts = [
        split_cases(source, fractions={"train": 0.9, "test": 0.1}, part=(0, 2), seed=seed) for seed in (0, 1)
    ]
    assert set(parts[0].cases["train"]) != set(parts[1].cases["train"])


@settings(max_examples=40)
@given(grouped_cases(), st.floats(0.05, 1), st.floats(0.05, 1), st.integers(0, 99))
def test_fractions_of_a_split_are_nested_and_never_touch_test(cases, first, second, seed):
    small, large = sorted((first, second))
    shares = {"train": 0.6, "selection": 0.2, "test": 0.2}
    a, b = (
        split_cases(source_of(cases), fractions=shares, fraction=fraction, seed=seed)
        for fraction in (small, large)
    )
    whole = split_cases(source_of(cases), fractions=shares, seed=seed)
    assert a.cases["test"] == b.cases["test"] == whole.cases["test"]
    for name in ("train", "selection"):
        assert a.cases[name]
        assert set(a.cases[name]) <= set(b.cases[name]) <= set(whole.cases[name])
    assert f"{small:g} of the groups of each split but test are used, seed {seed}" in a.note
    check_no_leak(a)


def test_the_whole_fraction_changes_nothing():
    source = source_of(singles({"a": 20}))
    whole, all_of_it = (
        split_cases(source, fractions=FRACTIONS, fraction=fraction) for fraction in (None, 1.0)
    )
    assert ids(whole) == ids(all_of_it)


@pytest.mark.parametrize("fraction", [0, -0.5, 1.01, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ConfigError, match="fraction must be above 0 and at most 1"):
        split_cases(source_of(singles({"a": 20})), fractions=FRACTIONS, fraction=fraction)


@pytest.mark.parametrize("part", [(0, 1), (3, 3), (-1, 2)])
def test_a_part_out_of_range_is_refused(part):
    with pytest.raises(ConfigError, match="is no part of train"):
        split_cases(source_of(singles({"a": 20})), fractions=FRACTIONS, part=part)


def test_more_parts_than_groups_are_refused():
    with pytest.raises(DataError, match=r"too few groups \(4\) for 9 parts"):
        split_cases(source_of(singles({"a": 5})), fractions={"train": 0.8, "test": 0.2}, part=(0, 9))


def test_images_without_labels_are_all_for_training():
    source = SimpleNamespace(cases=tuple(singles({"a": 10})), labelled=False)
    split = split_cases(source, carve={"selection": 0.2})
    assert [len(split.cases[name]) for name in SPLITS] == [8, 2, 0, 0]
    assert split.note.startswith("all images, which have no labels; selection 0.2 carved")


@settings(max_examples=30)
@given(grouped_cases(), st.integers(0, 1000), st.integers(0, 3))
def test_a_subset_narrows_the_training_split_alone(cases, seed, index):
    """Teachers of all subsets and their student share every other split, and groups stay whole."""
    options = {"fractions": {"train": 0.6, "selection": 0.2, "test": 0.2}, "seed": seed}
    whole = split_cases(source_of(cases), **options)
    split = split_cases(source_of(cases), subset=(index, 4, 0.6), **options)
    check_no_leak(split)
    for name in ("selection", "calibration", "test"):
        assert split.cases[name] == whole.cases[name]
    groups = {
        name: {case.group for case in part.cases["train"]} for name, part in (("all", whole), ("own", split))
    }
    assert groups["own"] <= groups["all"]
    assert len(groups["own"]) - 0.6 * len(groups["all"]) == pytest.approx(0, abs=1)
    assert split.cases["train"] == tuple(case for case in whole.cases["train"] if case.group in groups["own"])


def test_a_subset_says_how_large_all_are_and_what_they_share():
    source = source_of(singles({"a": 50, "b": 50}))
    options = {"fractions": {"train": 1.0}, "seed": 3}
    splits = [split_cases(source, subset=(index, 3, 0.7), **options) for index in range(3)]
    first, second = ({case.id for case in split.cases["train"]} for split in splits[:2])
    facts = splits[0].subset
    assert facts["sizes"] == [70, 70, 70]
    assert facts["overlaps"]["0-1"] == len(first & second) / 100
    assert facts["expected_overlap"] == pytest.approx(0.49)
    assert Counter(case.stratum for case in splits[2].cases["train"]) == {"a": 35, "b": 35}
    carved = split_cases(source, carve={"selection": 0.2}, **options)
    teacher = split_cases(source, carve={"selection": 0.2}, subset=(1, 3, 0.7), **options)
    assert teacher.cases["selection"] == carved.cases["selection"]
    assert len(teacher.cases["train"]) == 0.7 * len(carved.cases["train"])
    assert "train is subset 0 of 3 (from 0) with 0.7 of its groups" in splits[0].note
    assert not split_cases(source, **options).subset


def test_a_subset_that_there_is_not_is_refused():
    with pytest.raises(ConfigError, match="no subset 3 of 3; they are counted from 0"):
        split_cases(source_of(singles({"a": 9})), fractions={"train": 1.0}, subset=(3, 3, 0.7))
