"""`load_teacher`: every source, and one line for every source that cannot be used."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from meddistill.errors import ConfigError, TeacherError
from meddistill.files import write_json, write_text
from meddistill.models import ModelSpec, save_weights
from meddistill.teachers import load_teacher
from meddistill.training.run_folder import RunFolder

SPEC = ModelSpec("pcd/unet", num_classes=3, options={"width": 4}, class_names=("background", "a", "b"))


class RunsCode:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished run."""
    folder = RunFolder(tmp_path / "kd-t4.5")
    model = SPEC.build()
    save_weights(model, SPEC, folder.weights)
    write_json(folder.model, SPEC.to_json())
    write_text(folder.config, "{}")
    folder.write_state(state="finished", epochs_done=2)
    return folder


def test_a_run_folder(run: RunFolder):
    teacher = load_teacher(run.root)
    assert (teacher.name, teacher.num_classes, teacher.in_channels) == ("kd-t4.5", 3, 1)
    assert teacher.class_names == ("background", "a", "b")
    model = SPEC.build().eval()
    model.load_state_dict(teacher.network.state_dict())
    image = torch.rand(1, 1, 20, 16)
    assert torch.equal(teacher(image), model(image))


def test_a_weights_file_of_ours(run: RunFolder):
    teacher = load_teacher(str(run.weights), mean=[0.5], std=[0.5], class_map=[0, 2, 1])
    image = torch.rand(1, 1, 16, 16)
    assert teacher.name == "student"
    plain = load_teacher(run.weights)((image - 0.5) / 0.5)
    assert torch.allclose(teacher(image), plain[:, [0, 2, 1]])


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
def test_a_checkpoint_with_the_name_of_its_network(tmp_path: Path, suffix: str):
    model = SPEC.build().eval()
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state}, tmp_path / f"teacher{suffix}")
    teacher = load_teacher(tmp_path / f"teacher{suffix}", model="pcd/unet", num_classes=3, width=4)
    image = torch.rand(1, 1, 16, 16)
    assert teacher.name == "teacher"
    assert torch.equal(teacher(image), model(image))


def test_weights_of_an_rgb_network_are_recognised_for_grey_data(tmp_path: Path):
    model = ModelSpec("pcd/unet", in_channels=3, options={"width": 4}).build().eval()
    torch.save(model.state_dict(), tmp_path / "rgb.pt")
    teacher = load_teacher(tmp_path / "rgb.pt", model="pcd/unet", width=4)
    image = torch.rand(1, 1, 16, 16)
    assert teacher.in_channels == 3
    assert torch.equal(teacher(image), model(image.expand(-1, 3, -1, -1)))


def test_a_network_is_frozen_and_named_after_its_class():
    network = nn.Conv2d(3, 4, 1)
    teacher = load_teacher(network, in_channels=3, num_classes=4)
    assert teacher.name == "Conv2d"
    assert not network.weight.requires_grad
    assert teacher(torch.rand(1, 3, 2, 2)).shape == (1, 4, 2, 2)


def refused(source: Path | str, match: str, **arguments: object) -> None:
    with pytest.raises(TeacherError, match=match) as caught:
        load_teacher(source, **arguments)
    assert "\n" not in str(caught.value)


def test_what_is_no_run_is_refused(tmp_path: Path):
    refused(tmp_path / "nothing", "nothing is missing; give a run folder or a weights file")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"empty is not a run folder: it has no student\.safetensors")


def test_an_unfinished_run_is_refused(tmp_path: Path, run: RunFolder):
    started = RunFolder(tmp_path / "started")
    started.write_state(state="running", epochs_done=0)
    refused(started.root, r"started is unfinished \(0 epochs done\)")
    run.write_state(state="running", epochs_done=1)
    refused(run.root, r"is unfinished \(1 epochs done\); go on with it by --resume")
    run.state.write_text("{")
    refused(run.root, r"cannot read .*state\.json")


def test_a_finished_run_without_weights_is_refused(run: RunFolder):
    run.weights.unlink()
    refused(run.root, "is unfinished")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path):
    for name in ("a.pt", "a.safetensors"):
        (tmp_path / name).write_text("this is no checkpoint")
        refused(tmp_path / name, "is not a .*, or is damaged", model="pcd/unet")
    (tmp_path / "a.txt").write_text("text")
    refused(tmp_path / "a.txt", "is no weights file")


def test_a_pickle_that_would_run_code_does_not_run(tmp_path: Path):
    mark = tmp_path / "ran"
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(RunsCode(mark)))
    torch.save({"state_dict": RunsCode(mark)}, tmp_path / "zip.pt")
    for name in ("raw.pt", "zip.pt"):
        refused(tmp_path / name, "holds Python code.*re-save", model="pcd/unet")
    assert not mark.exists()


def test_weights_that_do_not_fit_are_refused(tmp_path: Path):
    torch.save(SPEC.build().state_dict(), tmp_path / "three.pt")
    refused(tmp_path / "three.pt", "does not fit the network: wrong shape", model="pcd/unet", width=4)
    refused(tmp_path / "three.pt", "does not fit the network", model="pcd/unet", width=8, num_classes=3)


def test_a_checkpoint_without_a_name_is_refused(tmp_path: Path):
    torch.save(SPEC.build().state_dict(), tmp_path / "nameless.pt")
    refused(tmp_path / "nameless.pt", "does not say which network it belongs to")


def test_a_classification_network_of_timm(tmp_path: Path):
    import timm

    network = timm.create_model("resnet18", num_classes=4, in_chans=3).eval()
    torch.save({"model": network.state_dict()}, tmp_path / "r.pt")
    teacher = load_teacher(tmp_path / "r.pt", model="timm/resnet18", num_classes=4, class_map=[0, [1, 3], 2])
    image = torch.rand(2, 1, 40, 40)
    plain = network(image.expand(-1, 3, -1, -1)).softmax(1)
    assert (teacher.in_channels, teacher.num_classes) == (3, 3)
    expected = torch.stack([plain[:, 0], plain[:, 1] + plain[:, 3], plain[:, 2]], dim=1)
    assert torch.allclose(teacher(image).softmax(1), expected, atol=1e-6)


def test_a_network_of_one_size_is_given_that(tmp_path: Path):
    model = ModelSpec("timm/vit_tiny_patch16_224", 3, 2, options={"img_size": 32}).build()
    torch.save(model.state_dict(), tmp_path / "v.pt")
    teacher = load_teacher(tmp_path / "v.pt", model="timm/vit_tiny_patch16_224", in_channels=3, img_size=32)
    assert teacher.size == (32, 32)
    assert teacher(torch.rand(1, 3, 50, 70)).shape == (1, 2)


def test_the_class_map_says_how_many_classes_the_network_has(tmp_path: Path):
    torch.save(SPEC.build().state_dict(), tmp_path / "three.pt")
    teacher = load_teacher(tmp_path / "three.pt", model="pcd/unet", width=4, class_map=[0, [2, 1]])
    assert (teacher.network_classes, teacher.num_classes) == (3, 2)


def test_names_of_classes_follow_the_class_map(run: RunFolder):
    assert load_teacher(run.root, class_map=[0, [1, 2], None]).class_names == ("background", "a+b", "unknown")


def test_a_program_needs_no_name_of_a_network(tmp_path: Path):
    torch.jit.trace(SPEC.build().eval(), torch.rand(1, 1, 16, 16)).save(tmp_path / "t.pt")
    with pytest.raises(
        ConfigError, match=r"t\.pt is a program \(torchscript\) and holds its network; leave model"
    ):
        load_teacher(tmp_path / "t.pt", model="pcd/unet")


def test_what_is_described_is_plain(run: RunFolder):
    described = json.loads(json.dumps(load_teacher(run.root, mean=[0.25], class_map=[0, [1, 2]]).describe()))
    assert (described["name"], described["kind"], described["mean"]) == ("kd-t4.5", "run", [0.25])
    assert described["class_map"] == [0, [1, 2]]
    assert described["parameters"] == sum(p.numel() for p in SPEC.build().parameters())


def test_options_need_a_name_and_names_must_exist(run: RunFolder):
    with pytest.raises(ConfigError, match=r"options of a network \(width\) need its name"):
        load_teacher(run.root, width=4)
    with pytest.raises(ConfigError, match="unknown model 'pcd/unett'"):
        load_teacher(run.weights, model="pcd/unett")
