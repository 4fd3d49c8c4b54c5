"""Class maps: what is merged, what is unknown, and one line for every map that cannot be meant."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddistill.errors import TeacherError
from meddistill.teachers.class_map import count_classes, map_logits, map_names, read_class_map


@st.composite
def maps(draw: st.DrawFn) -> tuple[list[int | list[int] | None], int]:
    """A valid class map, and the number of classes of its network."""
    groups = draw(st.lists(st.integers(0, 3), min_size=1, max_size=5).filter(any))
    order = draw(st.permutations(range(sum(groups))))
    entries: list[int | list[int] | None] = []
    for size in groups:
        taken, order = order[:size], order[size:]
        entries.append(None if not taken else taken[0] if len(taken) == 1 else list(taken))
    return entries, sum(groups)


@given(maps())
def test_probability_is_moved_and_never_lost(case: tuple[list[int | list[int] | None], int]):
    class_map, count = case
    logits = torch.randn(2, count, 3, generator=torch.Generator().manual_seed(0))
    entries = read_class_map(class_map, count, "t")
    assert count_classes(class_map) == count
    mapped = map_logits(logits, entries).softmax(1)
    assert torch.allclose(mapped.sum(1), torch.ones(2, 3))
    for k, entry in enumerate(class_map):
        indices = [entry] if isinstance(entry, int) else entry or []
        assert torch.allclose(mapped[:, k], logits.softmax(1)[:, indices].sum(1), atol=1e-6)


def test_names_follow_their_classes():
    entries = read_class_map([0, None, [3, 1], 2], 4, "t")
    assert map_names("abcd", entries) == ("a", "unknown", "d+b", "c")
    assert map_names("ab", None) == ("a", "b")
    assert map_names("", entries) == ()


@pytest.mark.parametrize(
    ("class_map", "said"),
    [
        ([0, 4], r"class_map \[0, 4\] names class 4; the network has 0\.\.2"),
        ([0, -1, 1, 2], r"names class -1; the network has 0\.\.2"),
        ([0, [1, 2], 1], "uses class 1 of the network twice"),
        ([0, [2, 2], 1], "uses class 2 of the network twice"),
        ([0, 2], r"leaves class 1 of the network unused; merge it .* for example \[\[0, 1\], 2\]"),
        ([None, [0, 2]], r"leaves class 1 .* for example \[\[1\], \[0, 2\]\]"),
        ([0, 1, 2, []], "an empty list; give null for a class that it does not know"),
    ],
)
def test_a_map_that_cannot_be_meant_is_refused(class_map: list[int | list[int] | None], said: str):
    with pytest.raises(TeacherError, match=f"^teacher 't': .*{said}"):
        read_class_map(class_map, 3, "t")
