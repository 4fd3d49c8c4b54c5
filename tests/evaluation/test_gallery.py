import math

import numpy as np
import pytest
import torch

from meddistill.data.case import Case
from meddistill.errors import DataError, RunError
from meddistill.evaluation import Gallery, ScoreTable, make_gallery, score_cases
from meddistill.evaluation.gallery import pick

from .tables import row, table

NAMES = ("background", "lesion")


class Cases:
    """Squares of growing size; the network below sees all of the first and ever less of the others."""

    def __init__(self, count, shape=(8, 8)):
        self.batches = []
        for index in range(count):
            label = torch.zeros(1, *shape, dtype=torch.long)
            label[0, : index + 1, : index + 1] = 1
            image = (label[:, None] * 0.4).float()
            image[:, :, 0, 0] = 1.0
            names = [f"c{index}"]
            self.batches.append(
                {"image": image, "label": label, "index": torch.tensor([index]), "case_id": names}
            )

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def only_bright(image):
    return torch.cat([torch.zeros_like(image), (image - 0.7) * 20], dim=1)


def all_of_it(image):
    return torch.cat([torch.zeros_like(image), (image - 0.2) * 20], dim=1)


def scored(data):
    cases = {batch["case_id"][0]: Case(batch["case_id"][0]) for batch in data.batches}
    return score_cases(only_bright, data.batches, class_names=NAMES, cases=cases)[0]


def test_worst_median_and_best_cases_are_shown_with_their_predictions():
    data = Cases(7)
    scores = scored(data)
    gallery = make_gallery(only_bright, all_of_it, data, scores, count=2)
    assert gallery.case.tolist() == ["c6", "c5", "c4", "c3", "c0", "c1"]
    assert gallery.kind.tolist() == ["worst", "worst", "median", "median", "best", "best"]
    by_case = dict(zip(scores["case"].tolist(), scores["dice"].tolist(), strict=True))
    assert gallery.dice.tolist() == [by_case[case] for case in gallery.case.tolist()]
    assert gallery.image.shape == (6, 1, 8, 8)
    assert gallery.image[0, 0, 0, 0] == 255
    assert gallery.image[0, 0, 1, 1] == 102
    np.testing.assert_array_equal(gallery.label[1], data[5]["label"][0])
    np.testing.assert_array_equal(gallery.teacher, gallery.label)
    assert gallery.student.sum(axis=(1, 2)).tolist() == [1] * 6


def test_uncertainty_is_the_entropy_over_its_maximum():
    data = Cases(1)
    data[0]["image"][0, 0, 0, 0] = 0.7
    gallery = make_gallery(only_bright, None, data, table([0.5]))
    assert gallery.uncertainty[0, 0, 0] == 255
    p = 1 / (1 + math.exp(14))
    entropy = -(p * math.log(p) + (1 - p) * math.log(1 - p)) / math.log(2)
    assert gallery.uncertainty[0, 5, 5] == round(entropy * 255)


def test_volumes_are_shown_by_the_slice_with_the_most_label():
    data = Cases(3, shape=(8, 8, 5))
    for batch in data.batches:
        batch["label"][..., 3] *= 1
        batch["label"][..., :3] = 0
        batch["label"][:, 4:, :, 4] = 0
        batch["label"][:, 0, 1:, 4] = 0
    gallery = make_gallery(only_bright, None, data, table([0.2, 0.4, 0.6]), count=1)
    assert gallery.image.shape == (3, 1, 8, 8)
    assert gallery.label.shape == (3, 8, 8)
    for case, label in zip(gallery.case, gallery.label, strict=True):
        np.testing.assert_array_equal(label, data[int(case[1:])]["label"][0, ..., 3])


def test_only_labelled_cases_are_shown():
    scores = ScoreTable.from_rows(
        [
            row("c0", state="both_empty"),
            row("c1", state="false_alarm"),
            row("c2", state="missed"),
            row("c3", 0.9),
        ]
    )
    gallery = make_gallery(only_bright, None, Cases(4), scores, count=3)
    assert gallery.case.tolist() == ["c2", "c3"]
    assert gallery.kind.tolist() == ["worst", "best"]
    assert gallery.teacher is None


def test_the_data_set_may_be_in_another_order_but_must_hold_the_cases():
    data = Cases(3)
    data.batches.reverse()
    gallery = make_gallery(only_bright, None, data, table([0.1, 0.5, 0.9]), count=1)
    assert gallery.label.sum(axis=(1, 2)).tolist() == [1, 4, 9]
    with pytest.raises(DataError, match="case c3 of the score table is not in the data set"):
        make_gallery(only_bright, None, data, table([0.1, 0.5, 0.9, 1.0]), count=1)


@pytest.mark.parametrize("teacher", [None, all_of_it])
def test_files_hold_plain_arrays_and_come_back_as_they_were(tmp_path, teacher):
    gallery = make_gallery(only_bright, teacher, Cases(3), table([0.1, 0.5, 0.9]), count=1)
    gallery.save(tmp_path / "gallery.npz")
    with np.load(tmp_path / "gallery.npz", allow_pickle=False) as arrays:
        assert ("teacher" in arrays) == (teacher is not None)
        assert arrays["case"].dtype.kind == "U"
    loaded = Gallery.load(tmp_path / "gallery.npz")
    for name in ("case", "kind", "image", "label", "student", "uncertainty", "dice", "teacher"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(gallery, name))


def test_nothing_to_show_is_an_empty_gallery(tmp_path):
    gallery = make_gallery(only_bright, None, Cases(2), table([0.5, 0.5], state="both_empty"))
    gallery.save(tmp_path / "gallery.npz")
    assert len(Gallery.load(tmp_path / "gallery.npz").case) == 0
    assert gallery.image.shape == (0, 0, 0, 0)


def test_files_that_are_no_gallery_are_refused(tmp_path):
    path = tmp_path / "gallery.npz"
    with pytest.raises(RunError, match="cannot read the gallery"):
        Gallery.load(path)
    np.savez(path, something=np.zeros(3))
    with pytest.raises(RunError, match="cannot read the gallery"):
        Gallery.load(path)
    np.savez(path, case=np.array([{"code": print}], dtype=object))
    with pytest.raises(RunError, match="cannot read the gallery"):
        Gallery.load(path)
    path.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(RunError, match="cannot read the gallery"):
        Gallery.load(path)


@pytest.mark.parametrize("cases", range(12))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_case_is_picked_twice_and_kinds_are_in_order(cases, count):
    values = np.random.default_rng(cases).permutation(cases).astype(float)
    chosen = pick(values, count)
    assert len({index for index, _ in chosen}) == len(chosen)
    assert len(chosen) == min(cases, 3 * count) or len(chosen) >= cases - cases % 3
    by_kind = {
        kind: [values[i] for i, found in chosen if found == kind] for kind in ("worst", "median", "best")
    }
    joined = by_kind["worst"] + by_kind["median"] + sorted(by_kind["best"])
    assert joined == sorted(joined)
