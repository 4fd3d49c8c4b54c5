"""What training sees of a set in which few cases are fully labelled."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
import torch

from meddistill.data import IGNORE_INDEX, Case, CaseCache, CaseDataset, PhantomSource, make_transform
from meddistill.data.dataset import make_mixed_loader
from meddistill.data.seeding import mixed_seed
from meddistill.data.supervision import Supervision, draw_full_groups
from meddistill.data.weak import create_weak_label
from meddistill.errors import ConfigError

SOURCE = PhantomSource(10, size=(32, 32), normal_fraction=0)
FULL = frozenset(case.id for case in SOURCE.cases[:3])


def cached(kind="disc", source=SOURCE, size=None, full=FULL, seed=0, **options):
    return CaseCache(
        source,
        source.cases,
        size=size,
        supervision=Supervision(full, create_weak_label(kind, **options), seed),
    )


@pytest.fixture(scope="module")
def cache():
    return cached()


def truth(index, source=SOURCE):
    return torch.from_numpy(source.read_label(source.cases[index])).long()


# Who is full


def cases(groups=9, each=3):
    return [Case(f"{g}/{n}", group=f"patient {g}") for g in range(groups) for n in range(each)]


def test_full_groups_depend_on_seed_and_names_alone():
    shuffled = random.Random(0).sample(cases(), 27)
    assert draw_full_groups(cases(), 4, seed=3) == draw_full_groups(shuffled, 4, seed=3)
    assert len({tuple(draw_full_groups(cases(), 4, seed=seed)) for seed in range(20)}) > 10


def test_fewer_full_groups_are_a_part_of_more():
    drawn = [set(draw_full_groups(cases(), count, seed=1)) for count in range(1, 10)]
    assert [len(groups) for groups in drawn] == list(range(1, 10))
    assert all(few < more for few, more in pairwise(drawn))


def test_only_groups_whose_cases_all_have_label_files_are_drawn(tmp_path):
    some = [
        Case(case.id, group=case.group, labels=(tmp_path,) if case.group < "patient 3" else ())
        for case in cases()
    ]
    assert draw_full_groups(some, 3, seed=5) == ["patient 0", "patient 1", "patient 2"]
    with pytest.raises(ConfigError, match="full_groups is 4, but the training split has 3 groups"):
        draw_full_groups(some, 4, seed=5)


@pytest.mark.parametrize("count", [0, 10])
def test_more_full_groups_than_there_are(count):
    with pytest.raises(ConfigError, match=f"full_groups is {count}, but the training split has 9 groups"):
        draw_full_groups(cases(), count, seed=0)


# What the cache holds


def test_weak_cases_have_nothing_but_their_weak_label(cache):
    _, labels = cache.gather(range(10))
    full, weak = cache.gather_weak(range(10))
    assert full.tolist() == [True] * 3 + [False] * 7
    for index in range(10):
        assert torch.equal(labels[index].long(), truth(index) if index < 3 else weak[index].long())
        drawn = create_weak_label("disc")(truth(index).numpy(), case_id=SOURCE.cases[index].id)
        assert np.array_equal(weak[index].numpy(), drawn)


def test_a_weak_label_does_not_depend_on_the_other_cases(cache):
    backwards = CaseCache(SOURCE, SOURCE.cases[::-1], size=None, supervision=cache.supervision)
    assert torch.equal(backwards.gather_weak(range(10))[1].flip(0), cache.gather_weak(range(10))[1])


def test_weak_labels_are_drawn_at_the_size_of_training():
    _, weak = cached("extreme_points", size=(16, 20)).gather_weak(range(10))
    assert weak.shape == (10, 16, 20)
    assert ((weak != IGNORE_INDEX).flatten(1).sum(1) >= 3).all()


def test_the_fingerprint_tells_supervisions_apart(cache):
    plain = CaseCache(SOURCE, SOURCE.cases, size=None).fingerprint()
    prints = {
        made.fingerprint()
        for made in (
            cached(seed=1),
            cached("eroded"),
            cached(width=5),
            cached(full=frozenset(list(FULL)[:2])),
        )
    }
    assert len(prints | {plain, cache.fingerprint()}) == 6
    assert cached().fingerprint() == cache.fingerprint()


def test_image_digests_do_not_depend_on_the_supervision(cache):
    assert CaseCache(SOURCE, SOURCE.cases, size=None).digest(5) == cache.digest(5)


def test_a_cache_without_supervision_has_no_weak_labels():
    with pytest.raises(ValueError, match="holds no weak labels"):
        CaseCache(SOURCE, SOURCE.cases, size=None).gather_weak([0])


# What the batches hold


def mixed(cache, *, augment="none", workers=0, **arguments):
    dataset = CaseDataset(cache, transform=make_transform(augment, dims=2), seed=7)
    return make_mixed_loader(
        dataset, **{"batch_size": 5, "full_per_batch": 2, "seed": 1, "workers": workers, **arguments}
    )


def batches(loader, count=3):
    for epoch in range(count):
        loader.batch_sampler.set_epoch(epoch)
        yield from loader


def test_a_batch_has_the_promised_form(cache):
    for batch in batches(mixed(cache)):
        assert set(batch) == {"image", "label", "index", "case_id", "full", "weak"}
        assert batch["full"].tolist() == [True, True, False, False, False]
        assert (batch["weak"].dtype, batch["weak"].shape) == (torch.int64, (5, 32, 32))
        assert torch.equal(batch["full"], batch["index"] < 3)


@pytest.mark.parametrize("augment", ["none", "light"])
def test_full_labels_of_weak_cases_are_in_no_batch(cache, augment):
    for batch in batches(mixed(cache, augment=augment)):
        for label, weak, full in zip(batch["label"], batch["weak"], batch["full"], strict=True):
            if not full:
                assert torch.equal(label, weak)
                assert (weak != IGNORE_INDEX).sum() <= 30
            else:
                labelled = weak != IGNORE_INDEX
                assert torch.equal(label[labelled], weak[labelled])
                assert (label == 1).sum() > (weak == 1).sum()


def test_the_weak_label_goes_the_way_of_the_image(cache):
    """As an image that is white where the weak label is, up to interpolation at its edge."""
    transform = make_transform("flip", dims=2)
    _, weak = cache.gather_weak([4])
    sample = {"image": (weak == 1).float(), "label": truth(4), "weak": weak[0].long()}
    for seed in range(8):
        changed = transform(sample, seed)
        assert torch.equal(changed["image"][0] == 1, changed["weak"] == 1)


def test_what_comes_in_from_outside_is_unlabelled():
    transform = make_transform("medium", dims=2)
    zeros = torch.zeros(32, 32, dtype=torch.long)
    changed = [
        transform({"image": torch.ones(1, 32, 32), "label": zeros, "weak": zeros}, s) for s in range(9)
    ]
    assert any((one["weak"] == IGNORE_INDEX).any() for one in changed)
    assert all(torch.equal(one["weak"], one["label"]) for one in changed)


def test_adding_a_weak_label_changes_nothing_else():
    transform = make_transform("medium", dims=2)
    sample = {"image": torch.rand(1, 32, 32), "label": truth(0)}
    for seed in range(5):
        plain, more = transform(sample, seed), transform({**sample, "weak": truth(1)}, seed)
        assert torch.equal(plain["image"], more["image"])
        assert torch.equal(plain["label"], more["label"])


def test_a_full_case_that_comes_again_is_changed_in_another_way(cache):
    [batch] = list(mixed(cache, augment="light", batch_size=7, full_per_batch=6, steps=1))
    for index in range(3):
        twice = batch["image"][:6][batch["index"][:6] == index]
        assert len(twice) == 2
        assert not torch.equal(twice[0], twice[1])


def test_the_change_is_seeded_by_the_pass(cache):
    [batch] = list(mixed(cache, augment="light", batch_size=7, full_per_batch=6, steps=1))
    transform = make_transform("light", dims=2)
    image, label = cache.read(int(batch["index"][4]))
    changed = transform(
        {"image": image.float() / 255, "label": label.long()}, mixed_seed(7, 1, int(batch["index"][4]))
    )
    assert torch.equal(batch["image"][4], changed["image"])


def test_workers_change_nothing(cache):
    runs = [list(batches(mixed(cache, augment="light", workers=workers))) for workers in (0, 2)]
    for serial, parallel in zip(*runs, strict=True):
        assert serial["case_id"] == parallel["case_id"]
        for name in ("image", "label", "weak", "full", "index"):
            assert torch.equal(serial[name], parallel[name])


def test_mixing_needs_a_supervision():
    plain = CaseCache(SOURCE, SOURCE.cases, size=None)
    with pytest.raises(ValueError, match="need a cache with a supervision"):
        mixed(plain)


def test_volumes():
    source = PhantomSource(3, size=(32, 32, 32), normal_fraction=0)
    made = cached("scribble", source=source, full=frozenset([source.cases[0].id]), axis=0)
    dataset = CaseDataset(made, transform=make_transform("light", dims=3), seed=7)
    [batch] = make_mixed_loader(dataset, batch_size=3, full_per_batch=1, seed=0)
    assert batch["weak"].shape == (3, 32, 32, 32)
    assert ((batch["weak"] == 1).flatten(1).sum(1) > 0).all()
