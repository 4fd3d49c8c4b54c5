import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddistill.methods.rows import rows_of, union, weak_labels, with_rows
from meddistill.testing import make_batch


def batch_of(full: list[bool]):
    return {**make_batch(torch.zeros(len(full), 2, 2).long()), "full": torch.tensor(full)}


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_both_kinds_together_are_the_batch(full):
    rows, place = rows_of(batch_of(full)), torch.arange(len(full))
    found = [rows.take(place, part).tolist() for part in ("full", "weak", "all")]
    assert found[0] == [i for i, known in enumerate(full) if known]
    assert found[1] == [i for i, known in enumerate(full) if not known]
    assert found[2] == list(range(len(full)))


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_rows_that_were_found_beforehand_are_the_same(full):
    batch, place = batch_of(full), torch.arange(len(full))
    for part in ("full", "weak"):
        assert torch.equal(rows_of(with_rows(batch)).take(place, part), rows_of(batch).take(place, part))


def test_rows_that_lie_together_take_no_copy():
    batch = with_rows(batch_of([True, True, False]))
    assert (batch["full_rows"], batch["weak_rows"]) == (slice(0, 2), slice(2, 3))
    assert with_rows(batch_of([False, False]))["full_rows"] == slice(0, 0)
    assert with_rows(batch_of([True, False, True]))["full_rows"].tolist() == [0, 2]


def test_a_batch_without_the_word_is_fully_labelled_and_its_label_serves_as_the_weak_one():
    batch = make_batch(torch.ones(2, 3, 3).long())
    assert with_rows(batch) is batch
    place = torch.arange(2)
    assert rows_of(batch).take(place, "full").tolist() == [0, 1]
    assert rows_of(batch).take(place, "weak").tolist() == []
    assert weak_labels(batch) is batch["label"]


def test_rows_that_were_left_out_cannot_be_had():
    rows = rows_of(batch_of([True, False]))
    with pytest.raises(ValueError, match="the weak rows are not among the full rows"):
        rows.take(torch.arange(1), "weak", of="full")


def test_a_mask_of_another_size_is_refused():
    batch = make_batch(torch.zeros(2, 3, 3).long())
    with pytest.raises(ValueError, match=r"full \(3,\) must hold one truth value"):
        rows_of({**batch, "full": torch.ones(3, dtype=torch.bool)})


@pytest.mark.parametrize(
    ("parts", "whole"),
    [(["full"], "full"), (["weak", "weak"], "weak"), (["full", "weak"], "all"), (["full", "all"], "all")],
)
def test_what_several_terms_need_together(parts, whole):
    assert union(parts) == whole
