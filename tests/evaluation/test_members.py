"""Several answers of one network: dropout that stays on, turned images."""

import pytest
import torch
from torch import nn

from meddistill.errors import ConfigError
from meddistill.evaluation.inference import predicting
from meddistill.evaluation.members import (
    Turned,
    WithDropout,
    dropout_members,
    turned_members,
)


def with_dropout() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Dropout2d(0.5), nn.Conv2d(4, 2, 1)).eval()


def test_dropout_is_on_within_and_off_afterwards_and_draws_what_its_seed_says():
    network, image = with_dropout(), torch.rand(2, 1, 4, 4)
    state = torch.random.get_rng_state()
    answers = []
    for _ in range(2):
        members = dropout_members(network, 3, seed=1)
        with predicting(network):
            answers.append([member(image) for member in members] + [members[0](image)])
    for first, second in zip(*answers, strict=True):
        assert torch.equal(first, second)
    assert all(not torch.equal(answers[0][0], other) for other in answers[0][1:])
    assert not any(part.training for part in network.modules())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(network[1].running_mean, torch.zeros(4))


def test_the_mean_of_many_answers_with_dropout_is_near_the_answer_without():
    network, image = with_dropout(), torch.rand(1, 1, 3, 3)
    kept_on = WithDropout(network, seed=0)
    with torch.no_grad():
        mean = torch.stack([kept_on(image) for _ in range(800)]).mean(0)
        torch.testing.assert_close(mean, network(image), atol=0.12, rtol=0)


@pytest.mark.parametrize("network", [nn.Conv2d(1, 2, 1), nn.Dropout(0.0)])
def test_a_network_without_dropout_is_refused(network: nn.Module):
    with pytest.raises(ConfigError, match="needs a student with dropout layers and this one has none"):
        dropout_members(network, 3)


@pytest.mark.parametrize("size", [(6, 6), (6, 4), (3, 5, 5), (3, 4, 5)])
def test_maps_are_turned_back(size: tuple[int, ...]):
    """A network that looks at single pixels answers alike about every turned image."""
    image = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0))
    pointwise = nn.LeakyReLU()
    members = turned_members(pointwise, size)
    for member in members:
        torch.testing.assert_close(member(image), pointwise(image))
    seen = {tuple(_turned(member, image).flatten().tolist()) for member in members}
    assert len(seen) == len(members)
    assert tuple(image.flatten().tolist()) not in seen


def _turned(member: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """What the network of a member sees."""
    seen: list[torch.Tensor] = []
    assert isinstance(member, Turned)
    watched = Turned(_Watching(seen), tuple(axis - 2 for axis in member._axes), member.transposed)
    watched(image)
    return seen[0]


class _Watching(nn.Module):
    def __init__(self, seen: list[torch.Tensor]) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(image)
        return image


def test_all_turns_of_a_square_are_rotations_and_their_mirror_images():
    image = torch.arange(9.0).view(1, 1, 3, 3)
    seen = {tuple(_turned(member, image).flatten().tolist()) for member in turned_members(nn.ReLU(), (3, 3))}
    rotated = [torch.rot90(image, turns, (2, 3)) for turns in range(4)]
    every = {tuple(view.flatten().tolist()) for one in rotated for view in (one, one.flip(3))}
    assert seen == every - {tuple(image.flatten().tolist())}


def test_answers_about_whole_images_are_left_as_they_are():
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    image = torch.rand(2, 3, 4, 4)
    for member in turned_members(pooled, (4, 4)):
        torch.testing.assert_close(member(image), pooled(image))
