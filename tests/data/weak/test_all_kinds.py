"""What holds for every weak label that is drawn into a full one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.weak import create_weak_label
from meddistill.errors import ConfigError
from tests.data.weak.maps import DRAWN, label_maps, ring

OPTIONS = st.fixed_dictionaries({"background": st.booleans(), "parts": st.sampled_from(["class", "object"])})


@given(st.sampled_from(DRAWN), OPTIONS, label_maps(), st.integers(0, 2**31), st.text(max_size=5))
def test_no_pixel_gets_a_class_that_the_full_label_does_not_give_it(kind, options, label, seed, case_id):
    before = label.copy()
    weak = create_weak_label(kind, **options)(label, seed=seed, case_id=case_id)
    assert np.array_equal(label, before)
    assert (weak.dtype, weak.shape) == (np.int16, label.shape)
    assert (weak[label == IGNORE_INDEX] == IGNORE_INDEX).all()
    classes = set(np.unique(label)) - {IGNORE_INDEX} - ({0} if not options["background"] else set())
    if kind == "box":
        assert set(np.unique(weak)) <= classes | {IGNORE_INDEX, 0}
        assert (label[weak == 0] == 0).all()
        return
    labelled = weak != IGNORE_INDEX
    assert np.array_equal(weak[labelled], label[labelled])
    assert set(np.unique(weak[labelled])) == classes


@given(st.sampled_from(DRAWN), OPTIONS, label_maps(), st.integers(0, 2**31), st.text(max_size=5))
def test_seed_and_case_decide_everything(kind, options, label, seed, case_id):
    first = create_weak_label(kind, **options)(label, seed=seed, case_id=case_id)
    again = create_weak_label(kind, **options)(label.astype(np.int64), seed=seed, case_id=case_id)
    assert np.array_equal(first, again)


@given(st.sampled_from([name for name in DRAWN if name != "box"]), label_maps(dims=(3,)), st.integers(0, 9))
def test_every_slice_is_drawn_by_itself(kind, label, seed):
    weak = create_weak_label(kind, axis=0)(label, seed=seed)
    for plane, full in zip(weak, label, strict=True):
        assert set(np.unique(plane)) - {IGNORE_INDEX} == set(np.unique(full)) - {IGNORE_INDEX, 0}


@pytest.mark.parametrize("kind", ["eroded", "scribble", "extreme_points", "central_disc", "box"])
def test_slices_of_a_volume_are_drawn_as_images_are(kind):
    label = np.stack([ring(), np.zeros_like(ring()), ring(inner=4)], axis=1)
    weak = create_weak_label(kind, axis=1)(label)
    for position in range(3):
        expected = create_weak_label(kind)(label[:, position])
        assert np.array_equal(weak[:, position], expected)


@pytest.mark.parametrize("kind", ["disc", "random_pixels"])
def test_other_seeds_and_other_cases_draw_otherwise(kind):
    draw = create_weak_label(kind)
    maps = [draw(ring(), seed=seed, case_id=case) for seed, case in ((0, "a"), (1, "a"), (0, "b"))]
    assert not np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


@pytest.mark.parametrize("kind", [name for name in DRAWN if name != "box"])
def test_one_class_does_not_depend_on_the_others(kind):
    label = ring()
    together = create_weak_label(kind)(label, seed=4)
    alone = create_weak_label(kind)(np.where(label == 2, 2, 0), seed=4)
    assert np.array_equal(together[label == 2] == 2, alone[label == 2] == 2)


@pytest.mark.parametrize(
    "kind", ["eroded", "disc", "central_disc", "scribble", "extreme_points", "random_pixels"]
)
def test_each_object_or_each_class(kind):
    label = np.zeros((12, 30), dtype=np.int16)
    label[2:9, 2:9] = label[2:9, 18:25] = 1
    objects = create_weak_label(kind, parts="object")(label) == 1
    assert objects[:, :15].any()
    assert objects[:, 15:].any()
    if kind in ("disc", "central_disc", "scribble"):
        _, pieces = ndimage.label(create_weak_label(kind, parts="class")(label) == 1, np.ones((3, 3)))
        assert pieces == 1


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("erodet", {}, "unknown weak label 'erodet'; did you mean 'eroded'"),
        ("disc", {"widht": 3}, "unknown option of weak label disc 'widht'; did you mean 'width'"),
        ("disc", {"width": 0}, "width must be a whole number from 1 on, not 0"),
        ("eroded", {"iterations": 1.5}, "iterations must be a whole number from 0 on, not 1.5"),
        ("random_pixels", {"count": True}, "count must be a whole number from 1 on, not True"),
        ("scribble", {"length": 0}, "length must be a number above 0 and at most 1, not 0"),
        ("scribble", {"parts": "objects"}, "did you mean 'object'"),
        ("central_disc", {"centre": "middle"}, "centre of a weak label"),
        ("box", {"inside": "unknown"}, "set background: true"),
        ("disc", {"background": "yes"}, "background must be true or false, not 'yes'"),
        ("file", {"unlabelled": "4"}, "unlabelled must be a whole number"),
        ("none", {"width": 1}, "there are none"),
    ],
)
def test_what_cannot_be_is_refused(kind, options, words):
    with pytest.raises(ConfigError, match=words):
        create_weak_label(kind, **options)


@pytest.mark.parametrize("label", [ring(), np.zeros((2, 2, 2), dtype=np.int16)])
def test_an_axis_that_is_not_there(label):
    with pytest.raises(ConfigError, match=f"the label has {label.ndim} axes; leave axis out"):
        create_weak_label("disc", axis=3)(np.maximum(label, 1))
