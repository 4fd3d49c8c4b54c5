"""Fingerprints: the same in another process, another for any change, and only where the change is."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from meddistill.models import create_model, list_models
from meddistill.teachers import Teacher
from meddistill.teachers.fingerprint import network_digest
from tests.models.test_factory import small_options

MAKE = """
import torch
from torch import nn
from meddistill.models import create_model
from meddistill.teachers import Teacher
torch.manual_seed(0)
network = create_model("pcd/unet", num_classes=3, width=2)
teacher = Teacher(network, num_classes=3, mean=[0.4], std=[0.2], size=[16, 16], class_map=[0, [1, 2]])
print(sorted(teacher.fingerprint().items()))
"""


def network(seed: int = 0, **changes: object) -> nn.Module:
    torch.manual_seed(seed)
    settings = {"in_channels": 1, "out_channels": 2, "kernel_size": 3, "padding": 1} | changes
    return nn.Sequential(nn.Conv2d(**settings), nn.BatchNorm2d(2))


def test_another_process_finds_the_same():
    outputs = [
        subprocess.run([sys.executable, "-c", MAKE], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert outputs[0] == outputs[1]
    names: dict[str, object] = {}
    exec(MAKE, names)
    assert f"{sorted(names['teacher'].fingerprint().items())}\n" == outputs[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net[0].weight.data[0, 0, 0].add_(1e-6),
        lambda net: net[1].running_var.mul_(2),
        lambda net: net[1].num_batches_tracked.add_(1),
        lambda net: net.double(),
        lambda net: setattr(net[0], "stride", (2, 2)),
        lambda net: setattr(net[1], "eps", 1e-3),
        lambda net: net.append(nn.Identity()),
        lambda net: net[0].register_buffer("extra", torch.zeros(1), persistent=False),
        lambda net: setattr(net, "temperature", 2.0),
    ],
)
def test_a_change_of_the_network_shows_in_the_weights_alone(change):
    first, second = network(), network()
    assert Teacher(first).fingerprint() == Teacher(second).fingerprint()
    change(second)
    before, after = Teacher(first).fingerprint(), Teacher(second).fingerprint()
    assert before["weights"] != after["weights"]
    assert before["preprocessing"] == after["preprocessing"]


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.1]},
        {"std": [0.5]},
        {"size": [8, 8]},
        {"class_map": [1, 0]},
        {"class_map": [0, None, 1]},
        {"standardise": "image"},
        {"dtype": torch.bfloat16},
    ],
)
def test_a_change_of_the_settings_shows_in_the_preprocessing_alone(change):
    before, after = Teacher(network()).fingerprint(), Teacher(network(), **change).fingerprint()
    assert before["weights"] == after["weights"]
    assert before["preprocessing"] != after["preprocessing"]


def test_what_does_not_change_the_logits_does_not_show():
    plain = Teacher(network(), in_channels=1)
    net = network().to(memory_format=torch.channels_last)
    other = Teacher(net, name="other", mean=[0.0], std=[1.0], class_names=("a", "b"), kind="weights")
    assert plain.fingerprint() == other.fingerprint()
    compiled = Teacher(torch.compile(network(), backend="eager"))
    assert compiled.fingerprint() == plain.fingerprint()


@pytest.mark.parametrize("name", list_models())
def test_running_a_network_leaves_its_digest_alone(name: str):
    model = create_model(name, **small_options(name)).eval()
    before = network_digest(model)
    with torch.no_grad():
        model(torch.rand(1, 1, 40, 50))
    assert network_digest(model) == before


def test_it_is_two_hashes():
    fingerprint = Teacher(network()).fingerprint()
    assert set(fingerprint) == {"weights", "preprocessing"}
    assert all(len(value) == 64 and int(value, 16) >= 0 for value in fingerprint.values())
