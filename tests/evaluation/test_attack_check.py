"""The check of attacks: silent for one that works, outspoken for one that does not."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from meddistill.errors import ConfigError
from meddistill.evaluation.attack_check import AttackFindings, check_attack
from meddistill.evaluation.attacks import EPSILONS, fgsm, pgd
from meddistill.losses import cross_entropy


def squares(count=8, size=16):
    """Images with a brighter square, and where it is."""
    generator = torch.Generator().manual_seed(0)
    image = 0.3 + 0.1 * torch.rand(count, 1, size, size, generator=generator)
    label = torch.zeros(count, size, size, dtype=torch.long)
    for number in range(count):
        row, column = torch.randint(2, size - 8, (2,), generator=generator).tolist()
        label[number, row : row + 6, column : column + 6] = 1
    return image + 0.08 * label.unsqueeze(1), label


def trained(make_head, image, label):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), *make_head())
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(120):
        optimiser.zero_grad()
        cross_entropy(network(image), label).mean().backward()
        optimiser.step()
    return network


@pytest.fixture(scope="module")
def segmenter():
    image, label = squares()
    return trained(lambda: [nn.Conv2d(6, 2, 3, padding=1)], image, label), image, label


@pytest.fixture(scope="module")
def classifier():
    image, label = squares(24)
    there = torch.arange(24) % 2
    image = torch.where(there.view(-1, 1, 1, 1) == 1, image, image - 0.08 * label.unsqueeze(1))
    network = trained(lambda: [nn.MaxPool2d(16), nn.Flatten(), nn.Linear(6, 2)], image, there)
    return network, image, there


@pytest.mark.parametrize("attack", [fgsm, pgd])
@pytest.mark.parametrize("task", ["segmenter", "classifier"])
def test_an_attack_on_a_trained_network_works(task, attack, request):
    network, image, label = request.getfixturevalue(task)
    batches = [{"image": image[:5], "label": label[:5]}, {"image": image[5:], "label": label[5:]}]
    found = check_attack(network, batches, attack=attack)
    assert found.problems == ()
    assert found.eps == (0.0, *EPSILONS)
    assert found.accuracy[0] > 0.9
    assert found.accuracy[-1] < found.accuracy[0] - 0.05
    assert all(loss > found.loss[0] for loss in found.loss[1:])
    correct = (network(image).argmax(1) == label).float().mean().item()
    assert found.accuracy[0] == pytest.approx(correct)
    assert found.loss[0] == pytest.approx(cross_entropy(network(image), label).mean().item(), rel=1e-5)


def test_ignored_pixels_do_not_count(segmenter):
    network, image, label = segmenter
    hidden = label.masked_fill(label == 1, -100)
    found = check_attack(network, [{"image": image, "label": hidden}], eps=(2 / 255,))
    assert found.accuracy[0] == pytest.approx(
        (network(image).argmax(1) == 0)[label == 0].float().mean().item()
    )


def test_labels_that_do_not_exclude_each_other():
    network = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(40 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
    batch = {"image": torch.tensor([[0.51, 0.49]]), "label": torch.tensor([[1, 0]])}
    found = check_attack(network, [batch])
    assert found.problems == ()
    assert (found.accuracy[0], found.accuracy[-1]) == (1.0, 0.0)


def test_an_attack_that_helps_the_network_is_found_out(segmenter):
    network, image, label = segmenter

    def helpful(network, image, label, *, eps):
        return 2 * image - fgsm(network, image, label, eps=eps)

    found = check_attack(network, [{"image": image, "label": label}], attack=helpful, tolerance=0.0)
    assert any("not above" in problem for problem in found.problems)
    assert any("accuracy rises from" in problem for problem in found.problems)
    assert str(found).endswith(found.problems[-1])


def test_masked_gradients_are_found_out(segmenter):
    network, image, label = segmenter

    def rounded(image):
        return network((image * 255).round() / 255)

    found = check_attack(rounded, [{"image": image, "label": label}], attack=fgsm)
    assert len(found.problems) == len(EPSILONS)
    assert "masked or vanish" in found.problems[0]


def test_within_the_tolerance_accuracy_may_rise():
    def noisy(network, image, label, *, eps):
        return image - 0.02 if eps > 5 / 255 else image + 0.5

    network = nn.Linear(1, 2)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        network.bias.copy_(torch.tensor([-0.5, 0.5]))
    batch = {"image": torch.linspace(0.0, 0.45, 10).unsqueeze(1), "label": torch.ones(10).long()}
    strict, lax = (check_attack(network, [batch], attack=noisy, tolerance=t) for t in (0.0, 1.0))
    assert any("accuracy rises" in problem for problem in strict.problems)
    assert not any("accuracy rises" in problem for problem in lax.problems)


def test_findings_are_plain_values(segmenter):
    network, image, label = segmenter
    found = check_attack(network, [{"image": image, "label": label}], eps=(1 / 255,))
    assert (
        AttackFindings(**{k: tuple(v) for k, v in json.loads(json.dumps(found.to_json())).items()}) == found
    )


@pytest.mark.parametrize("eps", [(0.0,), (0.2, 0.1), (0.1, 0.1)])
def test_strengths_must_ascend(eps):
    with pytest.raises(ConfigError, match="eps must ascend from above 0"):
        check_attack(nn.Linear(1, 2), [], eps=eps)


def test_nothing_labelled_is_refused():
    batch = {"image": torch.zeros(2, 1), "label": torch.full((2,), -100)}
    with pytest.raises(ConfigError, match="nothing is labelled"):
        check_attack(nn.Linear(1, 2), [batch])
