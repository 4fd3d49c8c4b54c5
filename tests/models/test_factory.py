"""`create_model`: every network at odd sizes, and one line for every wrong argument."""

import re
import socket

import pytest
import torch

from meddistill.errors import ConfigError
from meddistill.models import count_parameters, create_model, list_models
from meddistill.models.names import resolve_name

SMALL = {
    "smp": {"encoder_name": "mobilenet_v2"},
    "monai": {},
    "pcd": {"width": 4},
    "confkd": {"width": 2},
    "nakt": {},
}
SPECIAL = {
    "smp/dpt": {
        "encoder_name": "tu-vit_tiny_patch16_224",
        "decoder_intermediate_channels": (16, 16, 16, 16),
        "decoder_fusion_channels": 16,
    },
    "smp/deeplabv3": {"encoder_name": "mobilenet_v2", "decoder_channels": 16},
    "smp/manet": {"encoder_name": "resnet18", "decoder_channels": (16, 16, 8, 8, 8)},
    "smp/unetplusplus": {"encoder_name": "resnet18", "decoder_channels": (16, 16, 8, 8, 8)},
    "smp/segformer": {"encoder_name": "mit_b0"},
    "monai/unet": {"channels": [4, 8, 16]},
    "monai/attentionunet": {"channels": [4, 8, 16]},
    "monai/basicunet": {"features": [4, 4, 8, 8, 16, 4]},
    "monai/dynunet": {"filters": [4, 8, 16]},
    "monai/segresnet": {"init_filters": 8},
    "nakt/deeplabv3plus": {"encoder_name": "tu-test_resnet", "decoder_channels": 16},
    "nakt/panoptic_fpn": {"encoder_name": "tu-test_resnet", "decoder_pyramid_channels": 16},
    "nakt/unet": {"width": 2},
    "nakt/attention_unet": {"width": 4, "levels": 3},
    "nakt/sdunet": {"width": 8, "dilations": [3, 6, 9]},
}


def small_options(name: str) -> dict[str, object]:
    return dict(SPECIAL.get(name, SMALL[name.partition("/")[0]]))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object):
        raise AssertionError("building a model must not open a connection")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("name", list_models())
def test_each_network_answers_at_the_size_of_the_image(name: str):
    torch.manual_seed(0)
    model = create_model(name, in_channels=2, num_classes=3, **small_options(name))
    assert model.training
    logits = model(torch.rand(2, 2, 37, 50))
    assert logits.shape == (2, 3, 37, 50)
    assert bool(logits.isfinite().all())
    logits.square().mean().backward()
    assert any(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in model.parameters())


@pytest.mark.parametrize("name", [name for name in list_models() if 3 in resolve_name(name).dims])
def test_volumes(name: str):
    model = create_model(name, in_channels=1, num_classes=2, dims=3, **small_options(name)).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 1, 9, 18, 13)).shape == (1, 2, 9, 18, 13)


@pytest.mark.parametrize("name", [name for name in list_models() if name.startswith("monai/")])
def test_monai_networks_have_defaults(name: str):
    assert count_parameters(create_model(name)) > 100_000


def test_width_changes_the_size():
    assert count_parameters(create_model("pcd/unet", width=8)) < count_parameters(
        create_model("pcd/unet", width=16)
    )


def test_the_same_seed_gives_the_same_weights():
    def build() -> torch.Tensor:
        torch.manual_seed(3)
        return torch.cat([p.flatten() for p in create_model("pcd/unet", width=4).parameters()])

    assert torch.equal(build(), build())


def test_lists_and_tuples_of_options_are_the_same():
    torch.manual_seed(0)
    lists = create_model("monai/dynunet", strides=[[1, 1], [2, 2], [2, 1]], filters=[4, 8, 16])
    torch.manual_seed(0)
    tuples = create_model("monai/dynunet", strides=((1, 1), (2, 2), (2, 1)), filters=(4, 8, 16))
    assert lists.divisor == tuples.divisor == (4, 2)
    assert all(torch.equal(a, b) for a, b in zip(lists.parameters(), tuples.parameters(), strict=True))


def test_deep_supervision_is_reduced_to_the_main_logits():
    model = create_model("monai/dynunet", filters=[4, 8, 16, 16], deep_supervision=True).train()
    assert model(torch.rand(2, 1, 32, 32)).shape == (2, 2, 32, 32)


def test_building_leaves_batch_statistics_untouched():
    model = create_model("smp/linknet", encoder_name="resnet18")
    tracked = [v for k, v in model.state_dict().items() if k.endswith("num_batches_tracked")]
    assert tracked
    assert all(int(v) == 0 for v in tracked)


def test_weights_are_not_downloaded():
    with pytest.raises(ConfigError, match="built without downloads"):
        create_model("smp/unet", encoder_weights="imagenet")
    assert count_parameters(create_model("smp/unet", encoder_name="mobilenet_v2", encoder_weights=None)) > 0


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("pcd/unet", {"dims": 3}, "pcd/unet takes dims=2, not dims=3"),
        ("smp/unet", {"dims": 3}, "smp/unet takes dims=2, not dims=3"),
        ("monai/unet", {"dims": 4}, "dims=2 or dims=3, not dims=4"),
        ("pcd/unet", {"num_classes": 1}, "num_classes is 1"),
        ("pcd/unet", {"num_classes": True}, "num_classes is True"),
        ("pcd/unet", {"in_channels": "1"}, "in_channels is '1'"),
        ("pcd/unet", {"in_channels": 0}, "in_channels is 0"),
        ("pcd/unet", {"widht": 8}, "did you mean 'width'"),
        ("pcd/unet", {"width": "8"}, "width is '8'"),
        ("smp/linknet", {"encoder_nam": "resnet18"}, "did you mean 'encoder_name'"),
        ("smp/linknet", {"encoder_name": "resnet19"}, "unknown encoder 'resnet19'; did you mean 'resnet18'"),
        ("smp/linknet", {"encoder_name": "tu-resnet19"}, "did you mean 'tu-resnet18'"),
        ("smp/linknet", {"encoder_name": 18}, "encoder_name is text, not 18"),
        ("smp/linknet", {"encoder_name": "mit_b0"}, "cannot build smp/linknet with encoder_name='mit_b0'"),
        ("smp/unet", {"classes": 3}, "unknown option of smp/unet 'classes'"),
        ("smp/unet", {"activation": "softmax"}, "unknown option of smp/unet 'activation'"),
        ("smp/fpn", {"encoder_name": "mobilenet_v2", "upsampling": 2}, "32x32 with logits of 16x16"),
        ("smp/unet", {"encoder_name": "mobilenet_v2", "decoder_interpolation": "x"}, "cannot build smp/unet"),
        ("monai/unet", {"channels": 16}, "cannot build monai/unet with channels=16"),
        ("monai/unet", {"channels": [8, 16], "strides": ["2"]}, "are not whole numbers above 0"),
        ("monai/unet", {"norm": "nope"}, "cannot build monai/unet with norm='nope'"),
        ("monai/segresnet", {"init_filters": 6}, "cannot build monai/segresnet with init_filters=6"),
        ("monai/dynunet", {"strides": [1, 2]}, "cannot build monai/dynunet"),
        ("nakt/unet", {"dilations": [3]}, "unknown option of nakt/unet 'dilations'; known: levels, width"),
        ("nakt/sdunet", {"dilation": [3]}, "did you mean 'dilations'"),
        ("nakt/attention_unet", {"levels": 1}, "levels is 1; give a whole number of 2 or more"),
        ("nakt/attention_unet", {"channels": [8, 16]}, "unknown option of nakt/attention_unet 'channels'"),
        ("nakt/deeplabv3plus", {"width": 8}, "unknown option of nakt/deeplabv3plus 'width'"),
        ("nakt/panoptic_fpn", {"dims": 3}, "nakt/panoptic_fpn takes dims=2, not dims=3"),
        (
            "nakt/panoptic_fpn",
            {"encoder_weights": "imagenet"},
            "nakt/panoptic_fpn is built without downloads",
        ),
        ("unet", {}, "ambiguous"),
    ],
)
def test_wrong_arguments_give_one_line(name: str, arguments: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        create_model(name, **arguments)
    assert "\n" not in str(caught.value)
