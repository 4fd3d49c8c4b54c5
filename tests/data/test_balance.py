from collections import Counter

import pytest

from meddistill.data import Case, Split, split_cases
from meddistill.data.balance import BalancedSampler, check_balance, check_classes
from meddistill.data.sources.class_folder import ClassFolderSource
from meddistill.data.sources.table import TableSource
from meddistill.errors import ConfigError, DataError
from tests.data.answers import class_tree, label_table
from tests.data.sources.test_table import NIH

KINDS = ["rare"] * 2 + ["usual"] * 10


def drawn(sampler):
    return [index for batch in sampler for _, index in batch]


def test_every_kind_is_drawn_equally_often_and_its_cases_in_turn():
    sampler = BalancedSampler(KINDS, seed=3, batch_size=4)
    indices = drawn(sampler)
    assert Counter(KINDS[index] for index in indices) == {"rare": 6, "usual": 6}
    counts = Counter(indices)
    assert (counts[0], counts[1]) == (3, 3)
    assert all(count == 1 for index, count in counts.items() if index > 1)


def test_the_draw_follows_seed_and_epoch_alone():
    first, again = (BalancedSampler(KINDS, seed=3, batch_size=4) for _ in range(2))
    assert list(first) == list(again)
    again.set_epoch(1)
    assert drawn(first) != drawn(again)
    assert drawn(BalancedSampler(KINDS, seed=4, batch_size=4)) != drawn(first)


def test_processes_share_the_batches():
    whole = list(BalancedSampler(KINDS, seed=3, batch_size=4))
    parts = [list(BalancedSampler(KINDS, seed=3, batch_size=4, rank=rank, world_size=2)) for rank in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


def test_one_kind_alone_cannot_be_balanced():
    with pytest.raises(ConfigError, match=r"data\.balanced needs cases of several classes"):
        check_balance([Case("a"), Case("b")])
    check_balance([Case("a", stratum="x"), Case("b", stratum="y")])


def test_a_training_split_without_a_class_is_refused(tmp_path):
    source = ClassFolderSource(class_tree(tmp_path, classes=3))
    check_classes(source, split_cases(source, fractions={"train": 0.5, "test": 0.5}))
    with pytest.raises(DataError, match="the train split has no image of worse"):
        check_classes(source, Split({"train": source.cases[:8], "test": source.cases[8:]}))


def test_a_label_that_no_training_image_has_is_refused(tmp_path):
    source = TableSource(label_table(tmp_path), root=tmp_path / "images", **NIH)
    with pytest.raises(DataError, match="the train split has no image of bottom"):
        check_classes(source, Split({"train": source.cases[:2]}))


def test_maps_are_not_looked_at():
    from meddistill.data.phantom import PhantomSource

    source = PhantomSource(2, size=(32, 32), normal_fraction=0.9)
    check_classes(source, Split({"train": source.cases}))
