"""Networks of timm: one answer per image, no download, one line for every wrong name or option."""

import pytest
import torch

from meddistill.errors import ConfigError
from meddistill.models import create_model
from tests.models.test_factory import no_network  # noqa: F401 - nothing here may open a connection


@pytest.mark.parametrize("name", ["timm/resnet18", "timm/convnext_atto", "TIMM/mobilenetv3_small_050"])
def test_it_answers_once_per_image(name: str):
    model = create_model(name, in_channels=1, num_classes=5).eval()
    assert model(torch.rand(2, 1, 40, 56)).shape == (2, 5)
    assert model.fixed_size is None


def test_a_transformer_says_which_size_it_takes():
    model = create_model("timm/vit_tiny_patch16_224", in_channels=3).eval()
    assert model.fixed_size == (224, 224)
    assert create_model("timm/vit_tiny_patch16_224", img_size=64).fixed_size == (64, 64)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("timm/resnet19", {}, "unknown model 'timm/resnet19'; did you mean 'timm/resnet18'"),
        ("timm/resnet18", {"pretrained": True}, "built without downloads: leave pretrained out"),
        ("timm/resnet18", {"checkpoint_path": "x.pt"}, "leave checkpoint_path out"),
        ("timm/resnet18", {"no_such_option": 1}, "cannot build timm/resnet18 with no_such_option=1"),
        ("timm/resnet18", {"dims": 3}, "timm/resnet18 takes dims=2"),
    ],
)
def test_wrong_names_and_options_give_one_line(name: str, arguments: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        create_model(name, **arguments)
    assert "\n" not in str(caught.value)
