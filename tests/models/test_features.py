"""Taps: what they record, that they stay apart, and what compilation does to them."""

import copy

import pytest
import torch
from torch import nn

from meddistill.errors import ConfigError
from meddistill.models import create_model
from meddistill.models.features import FeatureTap
from meddistill.teachers import Teacher


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 1))


IMAGE = torch.rand(2, 1, 6, 6)


def test_it_records_what_the_submodules_put_out():
    net = network()
    with FeatureTap(net, ["0", "1"]) as tap:
        net(torch.zeros_like(IMAGE))
        net(IMAGE)
        features = tap.take()
    assert torch.equal(features["0"], net[0](IMAGE))
    assert torch.equal(features["1"], net[0](IMAGE).relu())


def test_the_hooks_are_gone_afterwards():
    net = network()
    tap = FeatureTap(net, ["0", "2"])
    tap.remove()
    with FeatureTap(net, ["1"]):
        pass
    assert not any(module._forward_hooks for module in net.modules())


def test_a_student_learns_through_its_features_and_a_teacher_does_not():
    student, teacher = network(), Teacher(network())
    with FeatureTap(student, ["1"]) as mine, teacher.tap(["1"]) as theirs:
        student(IMAGE)
        teacher(IMAGE)
        wanted = theirs.take()["1"]
        (mine.take()["1"] * wanted).sum().backward()
    assert not wanted.requires_grad
    assert student[0].weight.grad is not None
    assert teacher.network[0].weight.grad is None


def test_two_networks_and_copies_of_one_stay_apart():
    first = network()
    tap = FeatureTap(first, ["0"])
    second, other_copy = copy.deepcopy(first), network()
    other = FeatureTap(other_copy, ["0"])
    first(IMAGE)
    second(torch.zeros_like(IMAGE))
    other_copy(IMAGE)
    assert torch.equal(tap.take()["0"], first[0](IMAGE))
    assert torch.equal(other.take()["0"], other_copy[0](IMAGE))


def test_a_network_copied_with_its_tap_works_with_the_copy():
    net = network()
    tap = FeatureTap(net, ["0"])
    net(IMAGE)
    net_copy, tap_copy = copy.deepcopy((net, tap))
    with torch.no_grad():
        net_copy[0].weight.zero_()
    net_copy(IMAGE)
    assert not torch.equal(tap_copy.take()["0"], tap.take()["0"])
    tap_copy.remove()
    assert not net_copy[0]._forward_hooks
    assert net[0]._forward_hooks


def test_it_works_in_a_network_that_is_compiled_later():
    net = network()
    tap = FeatureTap(net, ["0"])
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    for scale in (1.0, 2.0):
        compiled(IMAGE * scale)
        features = tap.take()["0"]
        assert torch.allclose(features, net[0](IMAGE * scale))
        tap.take()
    features.sum().backward()
    assert net[0].weight.grad is not None


def test_a_compiled_network_is_refused():
    with pytest.raises(ConfigError, match="compiled already"):
        FeatureTap(torch.compile(network(), backend="eager"), ["0"])
    net = network()
    net[0].compile(backend="eager")
    with pytest.raises(ConfigError, match="set the tap before"):
        FeatureTap(net, ["1"])


def test_a_torchscript_program_is_refused():
    with pytest.raises(ConfigError, match="takes no hooks"):
        FeatureTap(torch.jit.trace(network(), IMAGE), ["0"])


def test_an_unknown_path_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown submodule 'network\.encoderr\.0'.*'network\.encoder\.0'"):
        FeatureTap(create_model("pcd/unet", width=2), ["network.encoderr.0"])
    with pytest.raises(ConfigError, match="unknown submodule ''"):
        FeatureTap(network(), [""])


def test_nothing_to_take_is_refused():
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused, self.text = nn.Identity(), nn.Identity(), Text()

        def forward(self, image):
            return self.used(image), self.text(image)

    class Text(nn.Module):
        def forward(self, image):
            return {"a": "text"}

    net = Unused()
    for path in ("unused", "text"):
        tap = FeatureTap(net, [path])
        net(IMAGE)
        with pytest.raises(ConfigError, match=f"submodule '{path}' left no tensor"):
            tap.take()
    tap = FeatureTap(net, ["used"])
    net(IMAGE)
    tap.take()
    with pytest.raises(ConfigError, match="has not run since the last take"):
        tap.take()


def test_the_first_tensor_of_several_outputs_counts():
    net = nn.Sequential(nn.LSTM(3, 4, batch_first=True))
    tap = FeatureTap(net, ["0"])
    net(torch.rand(1, 5, 3))
    assert tap.take()["0"].shape == (1, 5, 4)
