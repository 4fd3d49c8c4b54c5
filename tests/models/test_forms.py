"""Arrangements of networks: a student with its average, two networks side by side."""

from pathlib import Path

import pytest
import torch
from torch import nn

from meddistill.errors import ConfigError, RunError
from meddistill.models import (
    AveragedStudent,
    ModelSpec,
    Twin,
    branch_of,
    branches_of,
    load_model,
    save_weights,
)
from meddistill.models.forms import FORMS
from meddistill.training.compiling import compile_networks


def averaged() -> AveragedStudent:
    torch.manual_seed(0)
    return AveragedStudent(nn.Linear(1, 1, bias=False))


def test_the_average_is_the_plain_mean_until_the_decay_is_reached():
    network = averaged()
    start = network.student.weight.item()
    seen, expected = [start], start
    for number in range(1, 8):
        with torch.no_grad():
            network.student.weight.fill_(float(number))
        network.update(0.8)
        seen.append(float(number))
        if number <= 4:  # 1 - 1 / (n + 1) = 1/2, 2/3, 3/4, 4/5
            expected = sum(seen) / len(seen)
        else:
            expected = 0.8 * expected + 0.2 * number
        assert network.teacher.weight.item() == pytest.approx(expected, rel=1e-5)
    assert int(network.updates) == 7


def test_the_average_is_a_copy_that_does_not_learn():
    network = averaged()
    assert torch.equal(network.student.weight, network.teacher.weight)
    assert network.student.weight.requires_grad
    assert not network.teacher.weight.requires_grad
    assert [name for name, _ in network.named_parameters()] == ["student.weight", "teacher.weight"]


def test_twins_start_from_different_weights():
    network = ModelSpec("pcd/unet", options={"width": 2}, form="twin").build()
    pairs = zip(network.first.parameters(), network.second.parameters(), strict=True)
    assert any(not torch.equal(*pair) for pair in pairs)
    with pytest.raises(ConfigError, match="are one"):
        Twin(network.first, network.first)


@pytest.mark.parametrize(
    ("form", "branches"),
    [("mean_teacher", ("teacher", "student")), ("twin", ("first", "second")), ("single", ())],
)
def test_weights_files_rebuild_the_form(tmp_path: Path, form, branches):
    spec = ModelSpec("pcd/unet", options={"width": 2}, form=form)
    network = spec.build().eval()
    if form == "mean_teacher":
        with torch.no_grad():
            next(network.student.parameters()).add_(1.0)
        network.update(0.9)
    save_weights(network, spec, tmp_path / "w.safetensors")
    found, again = load_model(tmp_path / "w.safetensors")
    image = torch.rand(2, 1, 32, 32)
    assert found == spec
    assert branches_of(again) == branches
    state = network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
    assert torch.equal(again(image), branch_of(again, branches[0] if branches else None)(image))
    answers = [branch_of(again, name)(image) for name in branches]
    assert all(not torch.equal(answers[0], other) for other in answers[1:])


def test_a_file_without_a_form_is_a_single_network():
    described = ModelSpec("pcd/unet").to_json()
    del described["form"]
    assert ModelSpec.from_json(described).form == "single"
    with pytest.raises(RunError, match="does not describe a network"):
        ModelSpec.from_json({"name": "pcd/unet", "form": 3})


def test_unknown_forms_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="unknown form 'twins'; did you mean 'twin'"):
        ModelSpec("pcd/unet", form="twins").build()


@pytest.mark.parametrize("form", FORMS)
def test_what_a_step_calls_is_compiled(form):
    network = ModelSpec("pcd/unet", options={"width": 2}, form=form).build()
    compile_networks(network, None)
    called = {
        "single": [network],
        "dual_decoder": [network],
        "mean_teacher": [getattr(network, "student", None), getattr(network, "teacher", None)],
        "twin": [getattr(network, "first", None), getattr(network, "second", None)],
    }[form]
    assert all(module._compiled_call_impl is not None for module in called)
