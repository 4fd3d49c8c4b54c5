"""Which row of a store belongs to which case, view and epoch."""

import collections

import pytest
import torch

from meddistill.data import CaseCache, PhantomSource
from meddistill.data.transforms import make_transform
from meddistill.teachers.manifest import Views
from meddistill.teachers.stored import JointLogits, ReplayedLogits, RowImages, rows_of, view_seed
from tests.teachers.stores import Tutor, images, manifest, stored

VIEWS = Views("flip", 3, 0, {})
ORDER = ["case 7", "case 0", "case 3"]


def test_cases_are_found_by_name(tmp_path):
    store = stored(tmp_path / "store")
    logits = JointLogits(store, ORDER)
    assert logits.seed((5, 1)) is None
    expected = Tutor()(images([3, 7, 7])).softmax(1)
    torch.testing.assert_close(logits.read([(0, 2), (4, 0), (9, 0)]).softmax(1), expected, atol=3e-4, rtol=0)


def test_views_are_shown_in_turn_and_their_logits_belong_to_them(tmp_path):
    store = stored(tmp_path / "store", manifest(views=VIEWS))
    logits = ReplayedLogits(store, ORDER, seed=4)
    assert rows_of(store, ["case 7"]) == [21, 22, 23]
    for index, name in enumerate(ORDER):
        shown = [logits.view((epoch, index)) for epoch in range(6)]
        assert collections.Counter(shown) == {0: 2, 1: 2, 2: 2}
        for epoch, view in enumerate(shown):
            assert logits.seed((epoch, index)) == view_seed(VIEWS, name, view)
            row = int(name.split()[1]) * 3 + view
            expected = Tutor()(images([row])).softmax(1)
            found = logits.read([(epoch, index)]).softmax(1)
            torch.testing.assert_close(found, expected, atol=3e-4, rtol=0)


def test_runs_begin_with_different_views(tmp_path):
    store = stored(tmp_path / "store", manifest(views=VIEWS))
    names = [case for case, _ in store.manifest.cases]
    begins = {
        tuple(ReplayedLogits(store, names, seed=seed).view((0, n)) for n in range(10)) for seed in range(5)
    }
    assert len(begins) == 5


@pytest.fixture(scope="module")
def caches():
    source = PhantomSource(7, size=(32, 32))
    return tuple(CaseCache(source, source.cases[part], size=None) for part in (slice(0, 4), slice(4, 7)))


def test_images_of_rows_run_through_all_splits(caches):
    rows = RowImages(caches)
    expected = torch.cat([cache.gather(range(len(cache)))[0] for cache in caches]).float() / 255
    assert torch.equal(rows(range(7)), expected)
    assert torch.equal(rows([6, 0, 4]), expected[[6, 0, 4]])
    assert [case for case, _ in rows.cases] == [case.id for cache in caches for case in cache.cases]
    assert rows.cases[5][1] == caches[1].digest(1)
    with pytest.raises(IndexError):
        rows([7])


def test_images_of_views_are_changed_by_the_seed_of_the_view(caches):
    transform = make_transform("medium", dims=2)
    rows = RowImages(caches, VIEWS, transform)
    image, label = caches[1].read(1)
    seed = view_seed(VIEWS, caches[1].cases[1].id, 2)
    expected = transform({"image": image.float() / 255, "label": label.long()}, seed)["image"]
    assert torch.equal(rows([5 * 3 + 2])[0], expected)
