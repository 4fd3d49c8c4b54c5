"""Standardisation of single images, against MONAI's transforms."""

from typing import get_args

import pytest
import torch
from monai.transforms import NormalizeIntensity, ScaleIntensity

from meddistill.config.schema import TeacherSourceConfig
from meddistill.teachers.standardise import Standardisation, standardise


def test_recipes_know_the_same_names():
    [names, nothing] = get_args(TeacherSourceConfig.model_fields["standardise"].annotation)
    assert get_args(names) == get_args(Standardisation)
    assert nothing is type(None)


def images(*shape: int) -> torch.Tensor:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    return torch.where(values < 0.3, 0.0, values)


@pytest.mark.parametrize("shape", [(3, 2, 7, 5), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize(
    ("how", "transform"),
    [
        ("minmax", ScaleIntensity()),
        ("image", NormalizeIntensity()),
        ("channel", NormalizeIntensity(channel_wise=True)),
        ("image-nonzero", NormalizeIntensity(nonzero=True)),
        ("channel-nonzero", NormalizeIntensity(nonzero=True, channel_wise=True)),
    ],
)
def test_each_image_becomes_what_monai_makes_of_it(how: str, transform: object, shape: tuple[int, ...]):
    batch = images(*shape)
    expected = torch.stack([transform(image) for image in batch])
    assert torch.allclose(standardise(batch, how), expected, atol=1e-5)


@pytest.mark.parametrize("how", ["minmax", "image", "channel", "image-nonzero", "channel-nonzero"])
def test_constant_and_empty_images_stay_finite(how: str):
    batch = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 0.25)])
    assert bool(standardise(batch, how).isfinite().all())


@pytest.mark.parametrize("how", ["minmax", "image", "channel"])
def test_the_scale_of_the_image_does_not_matter(how: str):
    batch = images(2, 2, 6, 6)
    assert torch.allclose(standardise(batch, how), standardise(batch * 400 - 100, how), atol=1e-4)
