"""Attacks against networks whose worst image is known, and against trained ones."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from meddistill.errors import ConfigError, DataError
from meddistill.evaluation.attacks import EPSILONS, fgsm, label_loss, pgd
from meddistill.losses import cross_entropy


class Sum(nn.Module):
    """Logits (0, w . x) of an image: the gradient is w, up to a factor of known sign."""

    def __init__(self, shape, seed=0):
        super().__init__()
        weights = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        self.weights = nn.Parameter(weights)

    def forward(self, image):
        score = (image * self.weights).flatten(1).sum(1)
        return torch.stack((torch.zeros_like(score), score), 1)


def images(shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 3, 4, 2)])
@pytest.mark.parametrize("attack", [fgsm, partial(pgd, steps=7), partial(pgd, steps=7, random_start=False)])
@pytest.mark.parametrize("eps", EPSILONS)
def test_the_worst_image_for_a_linear_network_is_found(shape, attack, eps):
    network, image, label = Sum(shape), images((4, *shape)), torch.tensor([0, 1, 1, 0])
    away = torch.where(label == 0, 1.0, -1.0).view(-1, *(1,) * len(shape))
    expected = (image + eps * away * network.weights.sign()).clamp(0, 1)
    torch.testing.assert_close(attack(network, image, label, eps=eps), expected.detach())


@pytest.mark.parametrize("dims", [2, 3])
def test_each_pixel_of_a_segmentation_is_led_away_from_its_label(dims):
    """A 1x1 convolution with logits (0, x): the worst change of a pixel depends on its own label alone."""
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims](1, 2, 1, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([0.0, 1.0]).view(2, 1, *(1,) * dims))
    image, label = images((2, 1, *(4,) * dims)), torch.randint(2, (2, *(4,) * dims))
    label.view(-1)[::3] = -100
    change = fgsm(convolution, image, label, eps=0.01) - image
    wanted = torch.where(label == 0, 0.01, -0.01).masked_fill(label == -100, 0.0).unsqueeze(1)
    torch.testing.assert_close(change, (image + wanted).clamp(0, 1) - image)


def test_labels_that_do_not_exclude_each_other():
    network, image = nn.Linear(3, 3, bias=False), torch.full((1, 3), 0.5)
    with torch.no_grad():
        network.weight.copy_(torch.eye(3))
    change = fgsm(network, image, torch.tensor([[1, 0, -100]]), eps=0.1) - image
    torch.testing.assert_close(change, torch.tensor([[-0.1, 0.1, 0.0]]))


def small_network(seed=0):
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 2, 1)
    return nn.Sequential(*layers)


@given(st.floats(0, 0.2), st.integers(1, 5), st.booleans(), st.integers(0, 99))
def test_no_pixel_moves_further_than_eps_or_out_of_range(eps, steps, random_start, seed):
    image, label = images((2, 1, 6, 5), seed), torch.randint(2, (2, 6, 5))
    found = pgd(small_network(), image, label, eps=eps, steps=steps, random_start=random_start, seed=seed)
    assert found.shape == image.shape
    assert (found - image).abs().max() <= eps + 1e-6
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize("attack", [fgsm, pgd])
def test_an_attack_of_no_strength_changes_nothing(attack):
    image, label = images((2, 1, 6, 5)), torch.randint(2, (2, 6, 5))
    assert torch.equal(attack(small_network(), image, label, eps=0), image)


@pytest.mark.parametrize("attack", [fgsm, pgd])
def test_each_image_is_attacked_by_itself(attack):
    network, image, label = small_network(), images((3, 1, 6, 5)), torch.randint(2, (3, 6, 5))
    whole = attack(network, image, label, eps=0.05)
    torch.testing.assert_close(attack(network, image[:1], label[:1], eps=0.05), whole[:1])


def test_the_network_stays_as_it_was():
    network = small_network().train()
    network[0].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [part.training for part in network.modules()]
    image = images((2, 1, 6, 5))
    kept = image.clone()
    pgd(network, image, torch.randint(2, (2, 6, 5)), eps=0.05)
    assert [part.training for part in network.modules()] == modes
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(image, kept)
    assert not image.requires_grad


def test_inference_mode_round_it_does_not_matter():
    network, image, label = small_network(), images((2, 1, 6, 5)), torch.randint(2, (2, 6, 5))
    expected = pgd(network, image, label, eps=0.05)
    with torch.inference_mode():
        assert torch.equal(pgd(network, image.clone(), label.clone(), eps=0.05), expected)


def test_the_start_depends_on_the_seed_alone():
    network, image, label = small_network(), images((2, 1, 6, 5)), torch.randint(2, (2, 6, 5))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    options = {"eps": 0.05, "steps": 1, "step_size": 0.0}
    first, again, other = (pgd(network, image, label, seed=seed, **options) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first - image).abs().mean() > 0.01


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_precision(dtype):
    image = images((1, 1, 4, 4)).to(dtype)
    network = Sum((1, 4, 4)).to(torch.promote_types(dtype, torch.float32))
    found = fgsm(network, image, torch.tensor([0]), eps=1 / 255)
    assert found.dtype == network.weights.dtype
    assert (found - image).abs().max() == pytest.approx(1 / 255, rel=1e-3)


def test_more_steps_raise_the_loss_of_a_network_further():
    torch.manual_seed(0)
    network, image = small_network(3).eval(), images((4, 1, 12, 12))
    label = network(image).argmax(1)

    def loss(shown):
        return cross_entropy(network(shown), label).mean().item()

    losses = [
        loss(image),
        loss(fgsm(network, image, label, eps=0.1)),
        loss(pgd(network, image, label, eps=0.1)),
    ]
    assert losses == sorted(losses)


def test_the_loss_can_be_another():
    network, image = Sum((1, 4, 4)), images((2, 1, 4, 4))
    label = torch.tensor([0, 1])
    towards = fgsm(network, image, label, eps=0.1, loss=lambda logits, y: -label_loss(logits, y))
    torch.testing.assert_close(towards, fgsm(network, image, 1 - label, eps=0.1))


@pytest.mark.parametrize("steps", [1, 5])
def test_foolbox_finds_the_same(steps):
    foolbox = pytest.importorskip("foolbox")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    image, label = images((5, 1, 8, 8)), torch.tensor([0, 1, 2, 0, 1])
    model = foolbox.PyTorchModel(network, bounds=(0, 1))
    if steps == 1:
        theirs = foolbox.attacks.LinfFastGradientAttack(random_start=False)
        ours = fgsm(network, image, label, eps=0.03)
    else:
        theirs = foolbox.attacks.LinfProjectedGradientDescentAttack(
            steps=steps, abs_stepsize=2.5 * 0.03 / steps, random_start=False
        )
        ours = pgd(network, image, label, eps=0.03, steps=steps, random_start=False)
    expected = theirs.run(model, image, foolbox.criteria.Misclassification(label), epsilon=0.03)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": -0.1}, r"eps must lie in 0..1 \(1/255 is one grey level\), got -0.1"),
        ({"eps": 8}, "eps must lie in 0..1"),
        ({"eps": 0.1, "steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"eps": 0.1, "step_size": -1}, "step_size must be a number of 0 or more, got -1"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        pgd(Sum((1, 4, 4)), images((1, 1, 4, 4)), torch.tensor([0]), **options)


@pytest.mark.parametrize("image", [torch.full((1, 1, 4, 4), 2.1), torch.full((1, 1, 4, 4), -0.5)])
def test_normalised_images_are_refused(image):
    with pytest.raises(
        DataError, match=r"attacks need images in 0\.\.1, these run from .* inside the network"
    ):
        fgsm(Sum((1, 4, 4)), image, torch.tensor([0]), eps=0.1)


def test_each_image_may_have_a_seed_of_its_own():
    network, image, label = small_network(), images((3, 1, 6, 5)), torch.randint(2, (3, 6, 5))
    options = {"eps": 0.05, "steps": 1, "step_size": 0.0}
    whole = pgd(network, image, label, seed=[4, 5, 6], **options)
    torch.testing.assert_close(pgd(network, image[2:], label[2:], seed=[6], **options), whole[2:])
    torch.testing.assert_close(pgd(network, image[:1], label[:1], seed=4, **options), whole[:1])
    with pytest.raises(ConfigError, match="one seed for each of the 3 images, got 2"):
        pgd(network, image, label, seed=[4, 5], **options)
