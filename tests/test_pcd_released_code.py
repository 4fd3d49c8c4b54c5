"""The items of the preset table in docs/methods/pcd.md that belong to data, recipes, scores and networks.

The others are tested beside the methods and losses. Numbers are those of the table.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from meddistill import create_model, load_recipe
from meddistill.data import IGNORE_INDEX, FolderSource, PaletteSource
from meddistill.evaluation import dice_score
from meddistill.models import same_architecture
from tests.data.builders import endovis_tree, write_image


@pytest.mark.parametrize("recipe", ["pcd-busi", "pcd-busi-small"])
@pytest.mark.parametrize("row", ["iid", "kd", "tpl", "tpl_uncert", "cpl", "cpl_tpl"])
def test_4_the_rate_is_constant_as_it_was_in_fact(recipe, row):
    training = load_recipe(recipe, row=row).training
    assert (training.scheduler, training.lr, training.optimizer) == ("constant", 0.003, "adam")


@pytest.mark.parametrize("recipe", ["pcd-busi", "pcd-busi-small"])
def test_5_the_checkpoint_is_chosen_on_images_that_are_not_reported(recipe):
    splits = load_recipe(recipe).data.splits
    assert splits.files["test"] == "splits/pcd_val.json"
    assert set(splits.carve) == {"selection", "calibration"}
    assert "selection" not in splits.files


def test_12_grey_values_of_a_mask(tmp_path):
    mask = np.array([[0, 127, 128, 254, 255]], dtype=np.uint8)
    write_image(tmp_path / "c/a.png", np.zeros_like(mask))
    write_image(tmp_path / "c/a_mask.png", mask)
    for threshold, expected in ((127, [0, 0, 1, 1, 1]), (254, [0, 0, 0, 0, 1])):
        source = FolderSource(tmp_path, threshold=threshold)
        assert source.read_label(source.cases[0]).tolist() == [expected]


def test_12_unknown_colours_are_ignored(tmp_path):
    root = endovis_tree(tmp_path)
    source = PaletteSource(root, root / "labels.json")
    label = source.read_label(source.cases[0])
    assert label[7, 9] == IGNORE_INDEX
    assert (label == IGNORE_INDEX).sum() == 1


def test_14_an_image_empty_in_truth_and_prediction():
    empty = torch.zeros(1, 4, 4, dtype=torch.long)
    assert math.isnan(dice_score(empty, empty, num_classes=2).item())
    assert dice_score(empty, empty, num_classes=2, both_empty=1.0).item() == 1.0


def test_17_deeplab_with_and_without_the_decoder_of_v3plus():
    networks = [
        create_model(name, encoder_name="resnet18") for name in ("smp/deeplabv3", "smp/deeplabv3plus")
    ]
    assert not same_architecture(*networks)
    decoders = [{name for name, _ in network.named_modules() if "block2" in name} for network in networks]
    assert not decoders[0]
    assert decoders[1]
