"""The benchmark of annotating on a tiny set: its parts add up and the page shows them."""

from __future__ import annotations

import pytest
import torch

import annotate_speed
from annotate_speed import Settings
from tests.data.builders import busi_tree

TINY = Settings(cases=10, size=32, batch=4, model="pcd/unet", encoder=None, rounds=2)


@pytest.fixture(scope="module")
def found():
    return annotate_speed.measure(TINY)


def test_the_teacher_is_a_part_of_the_annotation(found):
    assert found["images"] == 10
    assert len(found["rounds"]) == 2
    for row in found["rounds"]:
        assert 0 < row["teacher"] <= row["annotation"]
        assert row["speed"] == pytest.approx(10 / row["annotation"])
        assert row["share"] == pytest.approx(row["teacher"] / row["annotation"])


def test_the_page_has_a_row_for_each_part(found):
    keys = ("processor", "platform", "python", "command")
    hardware = dict.fromkeys(keys, "x") | {
        "cores": 2,
        "threads": 1,
        "versions": {"torch": torch.__version__},
    }
    page = annotate_speed.markdown_page(found, hardware)
    for name, text in annotate_speed.rows(found):
        assert f"| {name} | {text} |" in page
        assert text in annotate_speed.text_table(found)
    assert "10 images (phantoms) at 32 px" in page


def test_a_folder_of_images_can_be_given(tmp_path):
    root = busi_tree(tmp_path / "images", size=(40, 36))
    settings = Settings(images=str(root), size=32, batch=4, model="pcd/unet", encoder=None, rounds=1)
    assert annotate_speed.measure(settings)["images"] == 9


def test_the_teacher_at_its_real_size_is_a_resnet():
    assert annotate_speed.spec_of(Settings()).options["encoder_name"] == "resnet34"
