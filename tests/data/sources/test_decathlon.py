import json

import numpy as np
import pytest

from meddistill.data import DecathlonSource
from meddistill.errors import DataError
from tests.data.builders import write_json
from tests.data.volumes.builders import SHAPE, decathlon_tree, image_values, label_values, write_nifti


def describe(root, **changes):
    write_json(root / "dataset.json", json.loads((root / "dataset.json").read_text()) | changes)


def test_pairs_are_cases(tmp_path):
    found = DecathlonSource(decathlon_tree(tmp_path), normalise="minmax")
    assert [case.id for case in found.cases] == ["organ_000", "organ_001"]
    assert (found.class_names, found.in_channels) == (("background", "Anterior", "Posterior"), 1)
    values = image_values(10)
    image = found.read_image(found.cases[1])
    np.testing.assert_allclose(image[0], (values - values.min()) / np.ptp(values), atol=1e-6)
    assert np.array_equal(found.read_label(found.cases[1]), label_values())


def test_modalities_lie_along_the_fourth_axis(tmp_path):
    found = DecathlonSource(decathlon_tree(tmp_path, modalities=2), normalise="minmax")
    found.check_files(found.cases)
    image = found.read_image(found.cases[0])
    assert image.shape == (2, *SHAPE)
    values = image_values(1)
    np.testing.assert_allclose(image[1], (values - values.min()) / np.ptp(values), atol=1e-6)
    assert found.geometry(found.cases[0]).shape == SHAPE


def test_test_images_are_there_when_unlabelled_ones_are_allowed(tmp_path):
    found = DecathlonSource(decathlon_tree(tmp_path), unlabelled="allow")
    assert [(case.id, len(case.labels)) for case in found.cases][1:] == [("organ_001", 1), ("organ_900", 0)]


def test_equal_file_names_are_told_apart_by_their_folders(tmp_path):
    root = decathlon_tree(tmp_path)
    pairs = []
    for patient in ("a", "b"):
        write_nifti(root / patient / "image.nii", image_values())
        write_nifti(root / patient / "label.nii", label_values())
        pairs.append({"image": f"./{patient}/image.nii", "label": f"{patient}/label.nii"})
    describe(root, training=pairs)
    assert [case.id for case in DecathlonSource(root, group_pattern="^(.)/").cases] == ["a/image", "b/image"]


PAIR = {"image": "imagesTr/organ_000.nii.gz", "label": "labelsTr/organ_000.nii.gz"}
BAD = {
    "empty": ({"training": []}, "training must be a list"),
    "no list": ({"training": {}}, "training must be a list"),
    "no pair": ({"training": [7]}, "training: expected .* not 7"),
    "no image": ({"training": [{"label": "a"}]}, "training: expected"),
    "missing file": (
        {"training": [{**PAIR, "image": "nowhere.nii"}]},
        "names a file that is not there: .*nowhere",
    ),
    "twice": (
        {"training": [PAIR, {**PAIR, "image": "./" + PAIR["image"]}]},
        "stands twice; list each image once",
    ),
    "no label": ({"training": [PAIR["image"]]}, "volume without label"),
    "labels": ({"labels": {"0": "background", "1": 2.5}}, "labels: '1': 2.5 is no label value"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_broken_descriptions_are_refused(tmp_path, changes, message):
    root = decathlon_tree(tmp_path)
    describe(root, **changes)
    with pytest.raises(DataError, match=message):
        DecathlonSource(root)


def test_an_image_of_several_frames_is_refused(tmp_path):
    root = decathlon_tree(tmp_path, modalities=2)
    describe(root, modality={"0": "MRI"})
    found = DecathlonSource(root)
    with pytest.raises(DataError, match=r"organ_000.nii.gz: has 4 axes \(6 x 7 x 5 x 2\)"):
        found.check_files(found.cases)
