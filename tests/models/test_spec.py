"""Specs and the weights files that carry them."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from meddistill.errors import ConfigError, RunError
from meddistill.models import ModelSpec, load_model, load_weights, save_weights

SPEC = ModelSpec(
    "pcd/unet",
    in_channels=1,
    num_classes=3,
    options={"width": 4},
    class_names=("background", "benign", "malignant"),
    size=(32, 32),
)


def test_a_round_trip_through_json_keeps_everything():
    spec = ModelSpec(
        "monai/dynunet", dims=3, options={"strides": ((1, 1, 1), (2, 2, 1)), "norm_name": "batch"}
    )
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert ModelSpec.from_json(json.loads(json.dumps(SPEC.to_json()))) == SPEC


def test_keys_of_others_are_left_alone():
    assert ModelSpec.from_json({**SPEC.to_json(), "parameters": 5, "teacher": "t"}) == SPEC


@pytest.mark.parametrize("value", [{}, {"options": {}}, [], {"name": 5}, {"name": "pcd/unet", "options": 3}])
def test_other_values_are_refused(value: dict[str, object]):
    with pytest.raises(RunError, match="does not describe a network"):
        ModelSpec.from_json(value)


def test_a_spec_of_an_unknown_network_is_refused_when_built():
    with pytest.raises(ConfigError, match="unknown model 'pcd/unett'"):
        ModelSpec("pcd/unett").build()


def test_weights_come_back_with_their_network(tmp_path: Path):
    model = SPEC.build().eval()
    save_weights(model, SPEC, tmp_path / "student.safetensors")
    spec, again = load_model(tmp_path / "student.safetensors")
    image = torch.rand(1, 1, 20, 28)
    assert spec == SPEC
    assert not again.training
    assert torch.equal(again(image), model(image))
    assert os.listdir(tmp_path) == ["student.safetensors"]


def test_the_state_fits_load_state_dict(tmp_path: Path):
    model = SPEC.build()
    save_weights(model, SPEC, tmp_path / "w.safetensors")
    _, state = load_weights(tmp_path / "w.safetensors")
    SPEC.build().load_state_dict(state)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_shared_weights_can_be_saved(tmp_path: Path):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    save_weights(model, SPEC, tmp_path / "w.safetensors")
    _, state = load_weights(tmp_path / "w.safetensors")
    assert torch.equal(state["1.weight"], model[0].weight)


def test_a_folder_in_the_way_leaves_nothing_behind(tmp_path: Path):
    (tmp_path / "w.safetensors").mkdir()
    with pytest.raises(RunError, match="cannot write"):
        save_weights(SPEC.build(), SPEC, tmp_path / "w.safetensors")
    assert os.listdir(tmp_path) == ["w.safetensors"]


def test_a_checkpoint_has_no_spec(tmp_path: Path):
    torch.save({"state_dict": SPEC.build().state_dict()}, tmp_path / "w.ckpt")
    spec, state = load_weights(tmp_path / "w.ckpt")
    assert spec is None
    assert state.keys() == SPEC.build().state_dict().keys()
    with pytest.raises(RunError, match="does not say which network"):
        load_model(tmp_path / "w.ckpt")


def test_safetensors_of_others_have_no_spec(tmp_path: Path):
    save_file({"w": torch.ones(2)}, tmp_path / "w.safetensors", metadata={"format": "pt"})
    spec, state = load_weights(tmp_path / "w.safetensors")
    assert spec is None
    assert state["w"].tolist() == [1, 1]


@pytest.mark.parametrize("content", [b"", b"hello world", bytes(200)])
def test_damaged_safetensors_give_one_line(tmp_path: Path, content: bytes):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(RunError, match=r"w\.safetensors is not a safetensors file, or is damaged") as caught:
        load_weights(tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)


def test_safetensors_without_weights_or_with_a_broken_spec_are_refused(tmp_path: Path):
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(RunError, match="holds no weights"):
        load_weights(tmp_path / "empty.safetensors")
    save_file({"w": torch.ones(1)}, tmp_path / "broken.safetensors", metadata={"meddistill": "{"})
    with pytest.raises(RunError, match="damaged"):
        load_weights(tmp_path / "broken.safetensors")


def test_missing_files_folders_and_other_kinds_are_refused(tmp_path: Path):
    with pytest.raises(RunError, match="is missing"):
        load_weights(tmp_path / "w.safetensors")
    with pytest.raises(RunError, match="is a folder"):
        load_weights(tmp_path)
    (tmp_path / "w.onnx").write_bytes(b"x")
    with pytest.raises(RunError, match="is no weights file"):
        load_weights(tmp_path / "w.onnx")


def test_weights_of_another_network_are_refused(tmp_path: Path):
    save_weights(ModelSpec("pcd/unet", options={"width": 8}).build(), SPEC, tmp_path / "w.safetensors")
    with pytest.raises(RunError, match=r"w\.safetensors does not fit the network: wrong shape"):
        load_model(tmp_path / "w.safetensors")
