"""The benchmark of adapters on small networks: each file gives the network's logits, and the page holds the
numbers."""

from __future__ import annotations

import json

import pytest
import torch

from adapters import ROUTES, Subject, markdown_page, measure, subjects, text_table
from meddistill.models import ModelSpec

UNET = {"channels": (4, 8, 16), "strides": (2, 2), "num_res_units": 1}
SMALL = {
    "monai": Subject(ModelSpec("monai/unet", 1, 3, dims=3, options=UNET), (12, 8, 16)),
    "pcd": Subject(ModelSpec("pcd/unet", 1, 2, options={"width": 2}), (32, 16)),
    "timm": Subject(ModelSpec("timm/test_resnet", 3, 2), (40, 32)),
}
ONNX = "ONNX, batch of 2"
EXACT = {
    "network",
    "run folder",
    "weights and name",
    "MONAI bundle",
    "TorchScript",
    "torch.export, any batch",
}


@pytest.fixture(scope="module")
def result():
    """Exports to ONNX take seconds each: one of the smallest network must do."""
    quick = {name: route for name, route in ROUTES.items() if not name.startswith("ONNX")}
    whole = measure(SMALL, quick)
    exported = measure({"pcd": SMALL["pcd"]}, {ONNX: ROUTES[ONNX]})["rows"]["pcd"]["differences"]
    for row in whole["rows"].values():
        row["differences"][ONNX] = None
    whole["rows"]["pcd"]["differences"] |= exported
    return whole | {"routes": [*quick, ONNX]}


def test_files_of_torch_change_nothing_and_others_the_last_bits(result):
    for row in result["rows"].values():
        for route, difference in row["differences"].items():
            if difference is not None:
                assert difference <= (0 if route in EXACT else 2e-5), route


def test_only_networks_of_monai_come_as_bundles(result):
    missing = [
        (name, route)
        for name, row in result["rows"].items()
        for route, difference in row["differences"].items()
        if difference is None and route != ONNX
    ]
    assert missing == [("pcd", "MONAI bundle"), ("timm", "MONAI bundle")]


def test_a_teacher_of_other_logits_stops_the_benchmark():
    def broken(subject, folder):
        teacher = ROUTES["run folder"](subject, folder)
        with torch.no_grad():
            next(teacher.parameters()).add_(1.0)
        return teacher

    with pytest.raises(ValueError, match="pcd through broken differs by"):
        measure({"pcd": SMALL["pcd"]}, {"broken": broken})


def test_page_and_table_hold_the_numbers_of_the_json(result):
    saved = json.loads(json.dumps(result))
    page, table = markdown_page(saved), text_table(saved)
    for name, row in saved["rows"].items():
        assert f" {row['parameters']} " in page
        assert name in table
    difference = f"{saved['rows']['pcd']['differences'][ONNX]:.1e}"
    assert difference in page
    assert difference in table
    assert saved["hardware"]["versions"]["onnxruntime"] in page


def test_the_page_is_about_five_networks():
    assert [subject.spec.name for subject in subjects().values()] == [
        "smp/unet",
        "monai/unet",
        "monai/unet",
        "pcd/unet",
        "timm/resnet18",
    ]
