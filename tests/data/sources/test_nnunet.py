import json

import numpy as np
import pytest

from meddistill.data import IGNORE_INDEX, NnUNetSource, SliceSource
from meddistill.errors import ConfigError, DataError
from tests.data.builders import write_json
from tests.data.volumes.builders import SHAPE, image_values, label_values, nnunet_tree, write_nifti


def describe(root, **changes):
    content = json.loads((root / "dataset.json").read_text()) | changes
    write_json(root / "dataset.json", {key: value for key, value in content.items() if value is not None})


def test_channels_are_stacked_and_normalised_one_by_one(tmp_path):
    found = NnUNetSource(nnunet_tree(tmp_path), normalise="minmax")
    assert [case.id for case in found.cases] == ["case0", "case1"]
    assert (found.in_channels, found.class_names) == (2, ("background", "one", "two"))
    image = found.read_image(found.cases[1])
    assert image.shape == (2, *SHAPE)
    for channel in (0, 1):
        values = image_values(10 + channel)
        np.testing.assert_allclose(image[channel], (values - values.min()) / np.ptp(values), atol=1e-5)
    assert np.array_equal(found.read_label(found.cases[1]), label_values())
    assert SliceSource(found).read_image(SliceSource(found).cases[2]).shape == (2, *SHAPE[1:])


def test_the_ignore_label_is_ignored(tmp_path):
    root = nnunet_tree(tmp_path, cases=1)
    write_nifti(root / "labelsTr/case0.nii.gz", np.full(SHAPE, 3, np.uint8))
    found = NnUNetSource(root)
    assert set(found.read_label(found.cases[0]).flat) == {IGNORE_INDEX}


def test_images_to_be_predicted_are_there_when_unlabelled_ones_are_allowed(tmp_path):
    found = NnUNetSource(nnunet_tree(tmp_path), unlabelled="allow")
    assert [(case.id, len(case.labels)) for case in found.cases] == [("case0", 1), ("case1", 1), ("other", 0)]
    assert found.read_image(found.cases[2]).shape == (2, *SHAPE)


def test_version_1_is_read(tmp_path):
    root = nnunet_tree(tmp_path)
    labels = {"0": "background", "1": "one", "2": "two"}
    describe(root, channel_names=None, modality={"0": "CT", "1": "PET"}, labels=labels, file_ending=None)
    found = NnUNetSource(root)
    assert (found.class_names, found.in_channels) == (("background", "one", "two"), 2)


def test_classes_of_the_recipe_come_first(tmp_path):
    found = NnUNetSource(nnunet_tree(tmp_path), classes={"rest": [0, 1], "two": 2})
    assert found.class_names == ("rest", "two")
    assert np.array_equal(found.read_label(found.cases[0]), label_values() == 2)


def without(name):
    return lambda root: (root / name).unlink()


def with_labels(labels):
    return lambda root: describe(root, labels=labels)


BAD = {
    "no description": (without("dataset.json"), "dataset.json: cannot be read"),
    "no JSON": (lambda root: (root / "dataset.json").write_text("{"), "dataset.json: not JSON"),
    "a list": (lambda root: write_json(root / "dataset.json", []), "expected an object"),
    "no channels": (lambda root: describe(root, channel_names=None), "needs channel_names"),
    "no labels": (with_labels(None), "needs labels"),
    "odd labels": (with_labels({"background": 0, "a": "b"}), "labels: 'a': 'b' is no label value"),
    "regions": (
        with_labels({"background": 0, "whole": [1, 2], "core": [2]}),
        "the label value 2 stands twice",
    ),
    "missing channel": (
        without("imagesTr/case1_0001.nii.gz"),
        "case1 has the channels 0, but dataset.json names 2",
    ),
    "missing label": (without("labelsTr/case1.nii.gz"), "volume without label: .*case1_0000"),
    "lone label": (
        lambda root: write_nifti(root / "labelsTr/x.nii.gz", label_values()),
        "label without image: .*labelsTr/x.nii.gz",
    ),
    "no channel in the name": (
        lambda root: write_nifti(root / "imagesTr/x.nii.gz", label_values()),
        "x.nii.gz: the name does not end in a channel such as _0000",
    ),
    "file ending": (
        lambda root: describe(root, file_ending=".png"),
        "file_ending '.png': only .nii.gz and .nii are read",
    ),
}


@pytest.mark.parametrize(("breaking", "message"), BAD.values(), ids=BAD)
def test_broken_folders_are_refused(tmp_path, breaking, message):
    root = nnunet_tree(tmp_path)
    breaking(root)
    with pytest.raises(DataError, match=message) as error:
        NnUNetSource(root)
    assert "\n" not in str(error.value)


def test_channels_must_lie_on_one_grid(tmp_path):
    root = nnunet_tree(tmp_path)
    write_nifti(root / "imagesTr/case1_0001.nii.gz", image_values(), np.diag([2, 2, 2, 1]))
    found = NnUNetSource(root)
    with pytest.raises(
        DataError, match=r"case1_0001\.nii\.gz: the affine differs from that of its image case1_0000"
    ):
        found.check_files(found.cases)
    with pytest.raises(DataError, match="the affine differs"):
        found.read_image(found.cases[1])


def test_one_name_in_both_folders_is_refused(tmp_path):
    root = nnunet_tree(tmp_path, channels=1)
    write_nifti(root / "imagesTs/case0_0000.nii.gz", image_values())
    assert len(NnUNetSource(root).cases) == 2
    with pytest.raises(DataError, match="case0 is in imagesTr too"):
        NnUNetSource(root, unlabelled="allow")


def test_options_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="go together"):
        NnUNetSource(nnunet_tree(tmp_path), window=(0, 1))
