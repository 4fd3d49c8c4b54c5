"""Names: aliases, unique spellings, refusals."""

import subprocess
import sys

import pytest

from meddistill.errors import ConfigError
from meddistill.models.names import MODEL_NAMES, list_models, resolve_name


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("smp/unet", "smp/unet"),
        ("SMP/Unet", "smp/unet"),
        ("Unet", "smp/unet"),
        ("UNet", "monai/unet"),
        ("Linknet", "smp/linknet"),
        ("linknet", "smp/linknet"),
        ("DeepLabV3Plus", "smp/deeplabv3plus"),
        ("deeplabv3", "smp/deeplabv3"),
        ("FPN", "smp/fpn"),
        ("BasicUNet", "monai/basicunet"),
        ("AttentionUnet", "monai/attentionunet"),
        ("SegResNet", "monai/segresnet"),
        ("dynunet", "monai/dynunet"),
        ("PCDUNet", "pcd/unet"),
        ("pcdunet", "pcd/unet"),
        ("SDUNet", "nakt/sdunet"),
        ("sdunet", "nakt/sdunet"),
        ("attention_unet", "nakt/attention_unet"),
        ("panoptic_fpn", "nakt/panoptic_fpn"),
        ("deeplabv3plus", "smp/deeplabv3plus"),
        ("attentionunet", "monai/attentionunet"),
    ],
)
def test_spellings(given: str, canonical: str):
    assert resolve_name(given).name == canonical


def test_every_canonical_name_and_class_name_resolves_to_itself():
    for entry in MODEL_NAMES.values():
        assert resolve_name(entry.name) is entry
        first = next(other for other in MODEL_NAMES.values() if other.class_name == entry.class_name)
        assert resolve_name(entry.class_name) is first
        assert first is entry or entry.library == "nakt"
    assert list_models() == sorted(MODEL_NAMES)


@pytest.mark.parametrize("name", ["unet", "UNET"])
def test_an_ambiguous_name_is_refused_with_its_candidates(name: str):
    with pytest.raises(
        ConfigError, match="ambiguous; give one of confkd/unet, monai/unet, nakt/unet, pcd/unet, smp/unet"
    ):
        resolve_name(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("linknett", "'Linknet'"), ("smp/lnknet", "'smp/linknet'"), ("zzz", "known: confkd/unet, monai/")],
)
def test_an_unknown_name_lists_the_nearest(name: str, hint: str):
    with pytest.raises(ConfigError) as caught:
        resolve_name(name)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(ConfigError, match="a model name is text"):
        resolve_name(5)  # type: ignore[arg-type]


def test_importing_models_and_teachers_leaves_the_heavy_libraries_alone():
    heavy = ("monai", "segmentation_models_pytorch", "timm", "torchvision", "lightning")
    code = (
        f"import sys, meddistill.models, meddistill.teachers; print([m for m in {heavy} if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
