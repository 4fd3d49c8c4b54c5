import torch
from torch import nn

from meddistill.models import ModelSpec, count_macs


def test_a_convolution_multiplies_its_kernel_at_every_pixel():
    assert count_macs(nn.Conv2d(2, 8, 3, padding=1), (2, 5, 7)) == 5 * 7 * 8 * 2 * 9


def test_volumes_and_strides_count_what_they_compute():
    assert count_macs(nn.Conv3d(1, 4, 2, stride=2), (1, 8, 8, 8)) == 4 * 4 * 4 * 4 * 8


def test_the_network_stays_as_it_was():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    assert count_macs(network, (1, 4, 4)) == 32
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_of_an_arrangement_only_the_network_that_answers_counts():
    alone = ModelSpec("pcd/unet", options={"width": 2})
    twin = ModelSpec("pcd/unet", options={"width": 2}, form="twin")
    assert count_macs(twin.build(), (1, 32, 32)) == count_macs(alone.build(), (1, 32, 32))


class NeedsValues(nn.Module):
    def forward(self, image):
        return image[image > image.mean()]


def test_a_network_whose_shapes_depend_on_values_is_not_counted():
    assert count_macs(NeedsValues(), (1, 4, 4)) is None


def test_an_image_that_the_network_cannot_take_is_not_counted():
    assert count_macs(nn.Linear(3, 2), (5,)) is None
