import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from meddistill.data.case import IGNORE_INDEX, Case
from meddistill.errors import DataError
from meddistill.evaluation import ScoreTable, summarise
from meddistill.evaluation.scores import score_case
from meddistill.evaluation.tiling import BySlices, Slab
from meddistill.evaluation.volume_gallery import make_volume_gallery
from meddistill.evaluation.volumes import score_volume, score_volumes

NAMES = ("background", "left", "right")


def slabs(logits, *, step=2):
    for start in range(0, logits.shape[1], step):
        where = (slice(start, min(start + step, logits.shape[1])), *(slice(0, n) for n in logits.shape[2:]))
        yield Slab(where, logits[(slice(None), *where)])


def one_hot(prediction, classes=3):
    return torch.nn.functional.one_hot(prediction, classes).movedim(-1, 0).float() * 4


@dataclass
class Geometry:
    spacing: tuple | None


class Memory:
    """Volumes held in memory, of any size, with or without spacing."""

    def __init__(self, labels, spacing=None, images=None):
        self.labels, self.spacing = labels, spacing
        self.images = images or {name: (label > 0).float()[None] for name, label in labels.items()}
        self.cases = [Case(name, group=name[0], stratum="s") for name in labels]

    def read_image(self, case):
        return self.images[case.id].numpy()

    def read_label(self, case):
        return self.labels[case.id].numpy().astype(np.int16)

    def geometry(self, case):
        return Geometry(self.spacing)


def test_slab_by_slab_equals_the_scores_of_the_whole():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, 8, 9, generator=generator)
    label = torch.randint(0, 3, (7, 8, 9), generator=generator)
    label[2:4, 3] = IGNORE_INDEX
    spacing = (3.0, 0.5, 0.7)
    found, bins = score_volume(slabs(logits), label, class_names=NAMES, spacing=spacing)
    expected = score_case(logits, label, class_names=NAMES, spacing=spacing)
    for row, wanted in zip(found, expected, strict=True):
        for name, value in wanted.items():
            assert row[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-6)), name
    assert bins.total == int((label != IGNORE_INDEX).sum())


def test_distances_of_an_anisotropic_volume_by_hand():
    label, prediction = torch.zeros(2, 12, 10, 10, dtype=torch.long)
    label[2:5, 2:4, 2:4] = 1
    prediction[4:7, 2:4, 2:4] = 1  # two planes further, each 5 mm thick
    [row, right], _ = score_volume(
        slabs(one_hot(prediction)), label, class_names=NAMES, spacing=(5, 0.5, 0.5)
    )
    # The outer planes of one block are 10 mm from the nearest plane of the other, the next ones 5 mm, and the
    # shared plane 0: a third of the voxels each, all of which are surface.
    assert row["hd95"] == pytest.approx(10)
    assert row["asd"] == pytest.approx(5)
    assert row["unit"] == "mm"
    assert row["dice"] == pytest.approx(1 / 3)
    assert right["state"] == "both_empty"
    [row, _], _ = score_volume(slabs(one_hot(prediction)), label, class_names=NAMES)
    assert (row["hd95"], row["asd"], row["unit"]) == (pytest.approx(2), pytest.approx(1), "voxels")


def test_distances_agree_with_monai():
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    spacing = (2.5, 0.8, 1.2)
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in (20, 30, 26)), indexing="ij"))
    blob = [
        ((grid - torch.tensor(c).view(3, 1, 1, 1)) ** 2).sum(0) < r * r
        for c, r in (((9, 14, 12), 7), ((11, 16, 13), 6))
    ]
    label, prediction = (part.long() for part in blob)
    [row, _], _ = score_volume(slabs(one_hot(prediction), step=3), label, class_names=NAMES, spacing=spacing)
    masks = [
        torch.nn.functional.one_hot(part, 2).movedim(-1, 0)[None].float() for part in (prediction, label)
    ]
    hd95 = compute_hausdorff_distance(*masks, percentile=95, spacing=spacing)
    asd = compute_average_surface_distance(*masks, symmetric=True, spacing=spacing)
    assert row["hd95"] == pytest.approx(hd95.item(), rel=1e-5)
    assert row["asd"] == pytest.approx(asd.item(), rel=1e-5)


def test_volume_differences_and_what_empty_masks_get():
    label, prediction = torch.zeros(2, 4, 5, 10, dtype=torch.long)
    label[0, 0, :8], prediction[0, 0, :6] = 1, 1
    prediction[3, 0, :3] = 2
    [left, right], _ = score_volume(
        slabs(one_hot(prediction)), label, class_names=NAMES, spacing=(10, 10, 10)
    )
    assert (left["rvd"], left["avd"]) == (-0.25, 2.0)
    assert right["state"] == "false_alarm"
    assert math.isnan(right["rvd"])
    assert right["avd"] == 3.0
    [left, right], _ = score_volume(slabs(one_hot(label)), prediction, class_names=NAMES)
    assert left["rvd"] == pytest.approx(1 / 3)
    assert math.isnan(left["avd"])
    assert (right["state"], right["rvd"]) == ("missed", -1.0)
    nothing = torch.zeros_like(label)
    [left, _], _ = score_volume(slabs(one_hot(nothing)), nothing, class_names=NAMES, spacing=(1, 1, 1))
    assert left["state"] == "both_empty"
    assert math.isnan(left["rvd"])
    assert math.isnan(left["avd"])


def test_bad_logits_are_refused_by_name():
    source = Memory({"a": torch.zeros(2, 4, 4, dtype=torch.long)})
    with pytest.raises(DataError, match="case a: the logits hold NaN"):
        score_volumes(
            lambda image: slabs(torch.full((3, 2, 4, 4), torch.nan)), source, source.cases, class_names=NAMES
        )
    with pytest.raises(DataError, match=r"case a: logits \(2, 2, 4, 4\) do not fit 3 classes"):
        score_volumes(lambda image: slabs(torch.zeros(2, 2, 4, 4)), source, source.cases, class_names=NAMES)
    source.images["a"] = torch.zeros(1, 2, 4, 5)
    with pytest.raises(DataError, match=r"a: image .* do not fit together"):
        score_volumes(lambda image: slabs(torch.zeros(3, 2, 4, 4)), source, source.cases, class_names=NAMES)


def labelled(shape, box):
    label = torch.zeros(shape, dtype=torch.long)
    label[tuple(slice(*ends) for ends in box)] = 1
    return label


@pytest.fixture
def source():
    """Three volumes of three sizes, two of them of one patient."""
    return Memory(
        {
            "a1": labelled((4, 12, 10), ((1, 3), (2, 6), (2, 6))),
            "a2": labelled((3, 10, 14), ((2, 3), (1, 5), (3, 9))),
            "b1": labelled((5, 8, 8), ((0, 5), (2, 6), (1, 7))),
        },
        spacing=(4.0, 1.0, 1.0),
    )


def thresholded(image):
    return torch.cat([0.5 - image, image - 0.5], dim=1) * 20


def test_volumes_are_cases_and_patients_are_groups(source, tmp_path):
    predictor = BySlices(thresholded, (8, 8), "bilinear")
    table, bins = score_volumes(predictor, source, source.cases, class_names=("background", "heart"))
    assert table["case"].tolist() == ["a1", "a2", "b1"]
    assert table["group"].tolist() == ["a", "a", "b"]
    assert table["unit"].tolist() == ["mm"] * 3
    assert table["dice"].min() > 0.7
    assert bins.total == table["pixels"].sum() == 4 * 120 + 3 * 140 + 5 * 64
    summary = summarise(table, bins)
    assert summary["unit"] == "mm"
    assert summary["metrics"]["ravd"]["mean"] == pytest.approx(np.abs(table["rvd"]).mean())
    assert summary["metrics"]["avd"]["n"] == 3
    table.write_csv(tmp_path / "scores.csv")
    again = ScoreTable.read_csv(tmp_path / "scores.csv")
    for name in table.columns:
        np.testing.assert_array_equal(again[name], table[name])


def test_images_have_no_volume_columns(tmp_path):
    rows = score_case(
        torch.zeros(2, 4, 4), torch.zeros(4, 4, dtype=torch.long), class_names=("background", "heart")
    )
    table = ScoreTable.from_rows([{"case": "a", "group": "a", "stratum": "", **row} for row in rows])
    table.write_csv(tmp_path / "scores.csv")
    header = (tmp_path / "scores.csv").read_text().splitlines()[0]
    assert header.endswith("label_pixels,predicted_pixels")
    assert np.isnan(ScoreTable.read_csv(tmp_path / "scores.csv")["rvd"]).all()
    assert not {"ravd", "avd"} & set(summarise(table)["metrics"])


def test_the_gallery_shows_the_slice_with_the_most_label(source):
    predictor = BySlices(thresholded, (8, 8), "bilinear")
    table, _ = score_volumes(predictor, source, source.cases, class_names=("background", "heart"))
    cases = {case.id: case for case in source.cases}
    gallery = make_volume_gallery(predictor, predictor, source, cases, table, count=1)
    assert sorted(gallery.case.tolist()) == ["a1", "a2", "b1"]
    assert gallery.label.shape == (3, 12, 14)
    at = gallery.case.tolist().index("a2")
    np.testing.assert_array_equal(gallery.label[at, :10, :14], source.labels["a2"][2].numpy())
    assert gallery.image[at].shape == (1, 12, 14)
    assert (gallery.image[at, 0, :10, :14] == 255 * source.labels["a2"][2].numpy()).all()
    assert (gallery.teacher == gallery.student).all()
    assert gallery.student[at, 1:5, 3:9].mean() > 0.8
    assert not gallery.student[at, 10:].any()
