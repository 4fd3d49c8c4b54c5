"""How far stored outputs are from live ones: exact where it must be, and large where the teacher changes."""

import pytest
import torch
from torch.nn import functional as F

from meddistill.data.transforms import PRESETS, Augmentation
from meddistill.teachers.annotate import annotate
from meddistill.teachers.manifest import Views
from meddistill.teachers.store import TeacherStore
from meddistill.teachers.store_error import advice, compare_with_live, differences_table, geometric_changes
from tests.teachers.stores import Tutor, images, manifest, stored

SIZE = (24, 24)


def smooth(rows):
    """Images that linear interpolation follows well, black at their borders."""
    noise = torch.stack([torch.rand(1, 5, 5, generator=torch.Generator().manual_seed(row)) for row in rows])
    window = torch.hann_window(SIZE[0], periodic=False)
    large = F.interpolate(noise, size=SIZE, mode="bicubic", align_corners=False).clamp(0, 1)
    return large * window * window[:, None]


def left_and_right(batch):
    """A teacher that is sure of class 1 on the right and of class 0 on the left, whatever it sees."""
    ramp = torch.linspace(-6, 6, SIZE[1]).expand(len(batch), 1, *SIZE)
    return torch.cat([-ramp, ramp], dim=1)


def differences(folder, teacher, **options):
    described = manifest(size=SIZE, **options)
    annotate(teacher, smooth, described, folder)
    store = TeacherStore.open(folder)
    found = compare_with_live(store, teacher, smooth, range(10), augment="medium", cases=4)
    return {difference.change: difference for difference in found}


def steep(batch):
    """A pixelwise teacher whose logits bend, so that their interpolation is not that of the image."""
    return Tutor(scale=3.0)((1.5 * batch) ** 2)


def test_interpolation_commutes_with_a_linear_pixelwise_teacher(tmp_path):
    found = differences(tmp_path / "store", Tutor(scale=2.0))
    assert list(found) == ["none", "flip", "rotate", "zoom", "shear"]
    assert all(0 < difference.largest < 3e-4 for difference in found.values())
    assert all(difference.cases == 4 for difference in found.values())


def test_a_pixelwise_teacher_differs_by_interpolation_alone(tmp_path):
    found = differences(tmp_path / "store", steep)
    assert found["flip"].largest < 3e-4
    for change in ("rotate", "zoom", "shear"):
        assert 3 * found["none"].largest < found[change].largest < 0.2
        assert found[change].mean < 0.01


def test_a_teacher_that_is_not_equivariant_is_shown_to_be_so(tmp_path):
    found = differences(tmp_path / "store", left_and_right)
    assert found["none"].largest < 3e-4
    assert found["flip"].largest > 0.99
    assert found["flip"].mean > 0.5


def test_a_byte_costs_what_it_costs(tmp_path):
    exact = differences(tmp_path / "a", Tutor(scale=2.0))["none"]
    coarse = differences(tmp_path / "b", Tutor(scale=2.0), encoding="uint8")["none"]
    assert 10 * exact.mean < coarse.mean <= coarse.largest <= 1 / 255


def test_the_numbers_are_those_of_the_definition(tmp_path):
    store = stored(tmp_path / "store", manifest(encoding="uint8"))
    (found,) = compare_with_live(store, Tutor(), images, range(10), cases=10)
    distance = (store.read(range(10)).softmax(1) - Tutor()(images(range(10))).softmax(1)).abs()
    assert found.largest == pytest.approx(float(distance.max()))
    assert found.mean == pytest.approx(float(distance.mean()), rel=1e-5)


def test_rows_say_where_an_image_is_stored(tmp_path):
    store = stored(tmp_path / "store")
    (right,) = compare_with_live(
        store, Tutor(), lambda numbers: images([9 - n for n in numbers]), range(9, -1, -1)
    )
    (wrong,) = compare_with_live(store, Tutor(), images, range(9, -1, -1))
    assert right.largest < 3e-4
    assert wrong.largest > 0.1


def test_replayed_views_are_compared_as_they_are(tmp_path):
    store = stored(tmp_path / "store", manifest(views=Views("medium", 3, 0, {})))
    (found,) = compare_with_live(store, Tutor(), images, range(30), augment="medium")
    assert (found.change, found.cases) == ("views", 8)
    assert found.largest < 3e-4


def test_each_geometric_change_is_tried_alone():
    assert geometric_changes(PRESETS["none"]) == {}
    changes = geometric_changes(Augmentation(quarter_turns=0.5, zoom=0.1, noise=0.1))
    assert changes == {
        "quarter turns": Augmentation(quarter_turns=1.0),
        "zoom": Augmentation(zoom=0.1),
    }


def test_replay_is_recommended_where_the_teacher_follows_no_change(tmp_path):
    assert "under flip the teacher itself answers otherwise" in advice(
        list(differences(tmp_path / "a", left_and_right).values())
    )
    assert advice(list(differences(tmp_path / "b", steep).values())) == ""


def test_the_table(tmp_path):
    store = stored(tmp_path / "store")
    found = compare_with_live(store, Tutor(), images, range(10))
    lines = differences_table(found, size=store.nbytes, rows=10).splitlines()
    assert lines[0] == "store: 0.0 MB, 0.1 KB a row"
    assert lines[2].split()[0] == "none"
