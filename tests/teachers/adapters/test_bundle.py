"""MONAI bundles: what MONAI makes of them, without evaluating or importing anything that they name."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from monai import transforms
from monai.networks import nets

from meddistill.errors import TeacherError
from meddistill.teachers import load_teacher
from meddistill.teachers.adapters.bundle_intensity import read_transforms
from tests.mistakes import RunsCode

NETWORK = {
    "_target_": "UNet",
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": "@classes",
    "channels": [4, 8, 16],
    "strides": [2, 2],
    "num_res_units": 1,
}
METADATA = {
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "spatial_shape": [16, 16], "value_range": [0, 1]}},
        "outputs": {
            "pred": {"num_channels": 3, "channel_def": {"0": "background", "1": "liver", "2": "tumour"}}
        },
    }
}
RANGE = {"a_min": -57.0, "a_max": 164.0, "b_min": -1.0, "b_max": 1.0, "clip": True}
STEPS = [
    {"_target_": "LoadImaged", "keys": "@image_key"},
    {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
    {"_target_": "Orientationd", "keys": ["image", "label"], "axcodes": "RAS"},
    {"_target_": "ScaleIntensityRanged", "keys": "image", **RANGE},
    {"_target_": "EnsureTyped", "keys": "image"},
]


def inference(**changes: Any) -> dict[str, Any]:
    return {
        "imports": ["$import glob"],
        "device": "$torch.device('cuda')",
        "image_key": "image",
        "classes": 3,
        "network_def": NETWORK,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": "@steps"},
        "steps": STEPS,
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "softmax": True}],
        },
    } | changes


def network(**changes: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    given = {key: value for key, value in NETWORK.items() if key != "_target_"}
    return nets.UNet(**given | {"out_channels": 3} | changes).eval()


def bundle(
    folder: Path, config: dict[str, Any] | None = None, *, metadata: Any = None, suffix: str = "json"
) -> Path:
    """A bundle with the weights of `network()`."""
    write = json.dumps if suffix == "json" else yaml.safe_dump
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata or METADATA))
    (folder / "configs" / f"inference.{suffix}").write_text(write(config or inference()))
    torch.save(network().state_dict(), folder / "models" / "model.pt")
    return folder


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_it_answers_as_monai_does(tmp_path: Path, suffix: str):
    teacher = load_teacher(bundle(tmp_path / "spleen", suffix=suffix))
    assert (teacher.name, teacher.kind, teacher.in_channels) == ("spleen", "bundle", 1)
    assert teacher.class_names == ("background", "liver", "tumour")
    raw = torch.empty(2, 1, 16, 16).uniform_(-300, 300)
    scaled = torch.stack([torch.as_tensor(transforms.ScaleIntensityRange(**RANGE)(image)) for image in raw])
    in_window = ((raw - RANGE["a_min"]) / (RANGE["a_max"] - RANGE["a_min"])).clamp(0, 1)
    assert torch.allclose(teacher(in_window), network()(scaled), atol=1e-5)


def test_defaults_are_those_of_monai(tmp_path: Path):
    """`create_model` has residual units where MONAI has none."""
    plain = {key: value for key, value in NETWORK.items() if key != "num_res_units"}
    folder = bundle(tmp_path / "b", inference(network_def=plain | {"_target_": "monai.networks.nets.UNet"}))
    torch.save(network(num_res_units=0).state_dict(), folder / "models" / "model.pt")
    image = torch.rand(1, 1, 16, 16)
    expected = network(num_res_units=0)(2 * image - 1)
    assert torch.allclose(load_teacher(folder)(image), expected, atol=1e-5)


def test_a_program_stands_in_for_a_network_that_is_not_known(tmp_path: Path):
    folder = bundle(tmp_path / "b", inference(network_def={"_target_": "scripts.net.Mine", "depth": 3}))
    with pytest.raises(
        TeacherError, match=r"scripts\.net\.Mine is none of .*UNet of MONAI.*models/model\.ts"
    ):
        load_teacher(folder)
    torch.jit.trace(network(), torch.rand(1, 1, 16, 16)).save(folder / "models" / "model.ts")
    image = torch.rand(1, 1, 16, 16)
    teacher = load_teacher(folder)
    assert (teacher.kind, teacher.num_classes) == ("bundle", 3)
    assert torch.allclose(teacher(image), network()(2 * image - 1), atol=1e-5)


def test_the_network_and_the_normalisation_can_be_given(tmp_path: Path):
    config = inference(network_def={"_target_": "scripts.net.Mine"}, steps="$make_steps()")
    folder = bundle(tmp_path / "b", config)
    with pytest.raises(TeacherError, match=r"is an expression .*; give mean and std"):
        load_teacher(folder, model="monai/unet", num_classes=3, channels=(4, 8, 16), num_res_units=1)
    teacher = load_teacher(
        folder, model="monai/unet", num_classes=3, channels=(4, 8, 16), num_res_units=1, mean=[0.5], std=[0.5]
    )
    image = torch.rand(1, 1, 16, 16)
    assert torch.allclose(teacher(image), network()(2 * image - 1), atol=1e-5)


def folded(*steps: dict[str, Any], channels: int = 1) -> tuple[Any, float, float]:
    read = read_transforms(steps, channels, "example")
    return read.standardise, read.low, read.high


def step(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": name, "keys": "image", **arguments}


@pytest.mark.parametrize(
    ("steps", "channels", "expected"),
    [
        ([step("ScaleIntensityd")], 1, ("minmax", 0, 1)),
        ([step("ScaleIntensityd", minv=-1.0, maxv=1.0)], 1, ("minmax", -1, 1)),
        ([step("NormalizeIntensityd")], 1, ("image", 0, 1)),
        ([step("NormalizeIntensityd", nonzero=True, channel_wise=True)], 4, ("channel-nonzero", 0, 1)),
        ([step("NormalizeIntensityd", channel_wise=True)], 1, ("image", 0, 1)),
        ([step("ScaleIntensityRanged", b_min=0, b_max=255)], 1, (None, 0, 255)),
        (
            [
                step("ScaleIntensityRanged", b_min=0, b_max=1),
                step("NormalizeIntensityd", subtrahend=0.5, divisor=0.2),
            ],
            1,
            (None, -2.5, 2.5),
        ),
        ([step("ScaleIntensityRanged", b_min=0, b_max=1), step("NormalizeIntensityd")], 1, ("image", 0, 1)),
        ([step("RandScaleIntensityd"), step("CropForegroundd")], 1, (None, 0, 1)),
        ([{"_target_": "Lambdad", "keys": "label"}], 1, (None, 0, 1)),
        ([step("Lambdad", _disabled_=True)], 1, (None, 0, 1)),
    ],
)
def test_transforms_of_intensity(
    steps: list[dict[str, Any]], channels: int, expected: tuple[Any, float, float]
):
    assert folded(*steps, channels=channels) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([step("Lambdad", func="$lambda x: x")], "what Lambdad does to the image is not known"),
        ([step("HistogramNormalized")], "what HistogramNormalized does"),
        ([step("ScaleIntensityd", factor=0.1)], "ScaleIntensityd cannot be followed"),
        (
            [step("ScaleIntensityRanged", a_min=0, a_max=1)],
            r"cannot be followed \(it has no b_min and b_max\)",
        ),
        (
            [step("NormalizeIntensityd", subtrahend=100, divisor=40)],
            "its numbers are for images in other units",
        ),
        (
            [step("NormalizeIntensityd"), step("ScaleIntensityRanged", b_min=0, b_max=1)],
            "units of the transform before",
        ),
        ([step("Resized", spatial_size="$(64, 64)")], "Resized cannot be followed"),
    ],
)
def test_a_transform_that_is_not_understood_is_refused(steps: list[dict[str, Any]], said: str):
    with pytest.raises(TeacherError, match=f"{said}.*give mean and std"):
        folded(*steps)


def test_a_resize_sets_the_size(tmp_path: Path):
    steps = [step("Resized", spatial_size=[32, 16]), step("NormalizeIntensityd")]
    teacher = load_teacher(bundle(tmp_path / "b", inference(steps=steps)))
    assert (teacher.size, teacher.standardise) == ((32, 16), "image")


def test_the_declared_range_counts_where_no_transform_does(tmp_path: Path):
    metadata = json.loads(json.dumps(METADATA))
    metadata["network_data_format"]["inputs"]["image"]["value_range"] = [0, 255]
    teacher = load_teacher(bundle(tmp_path / "a", inference(steps=STEPS[:3]), metadata=metadata))
    assert teacher.preprocessing()["std"] == pytest.approx([1 / 255])
    metadata["network_data_format"]["inputs"]["image"]["value_range"] = []
    with pytest.raises(
        TeacherError, match="does not say which intensities the network takes; give mean and std"
    ):
        load_teacher(bundle(tmp_path / "b", inference(steps=STEPS[:3]), metadata=metadata))


def test_regions_that_overlap_are_refused(tmp_path: Path):
    config = inference(postprocessing={"transforms": [{"_target_": "Activationsd", "sigmoid": True}]})
    with pytest.raises(TeacherError, match="regions that overlap"):
        load_teacher(bundle(tmp_path / "b", config))


def evil(mark: Path) -> str:
    return f"$__import__('os').system('touch {mark}')"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda mark: {"classes": evil(mark)}, "is an expression"),
        (lambda mark: {"network_def": evil(mark)}, "is an expression"),
        (lambda mark: {"network_def": {"_target_": "os.system", "command": f"touch {mark}"}}, "is none of"),
        (lambda mark: {"network_def": NETWORK | {"act": f"%{mark}"}}, "is an expression"),
        (
            lambda mark: {"steps": [step("ScaleIntensityRanged", b_min=0, b_max=evil(mark))]},
            "is an expression",
        ),
        (lambda mark: {"steps": [step("os.system", command=f"touch {mark}")]}, "what system does"),
        (lambda mark: {"classes": "@network_def::out_channels"}, "refers to itself"),
    ],
)
def test_expressions_and_targets_are_not_run(tmp_path: Path, change: Any, said: str):
    mark = tmp_path / "mark"
    with pytest.raises(TeacherError, match=said) as caught:
        load_teacher(bundle(tmp_path / "b", inference(**change(mark))))
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_weights_and_yaml_that_would_run_code_do_not(tmp_path: Path):
    mark = tmp_path / "mark"
    folder = bundle(tmp_path / "a")
    (folder / "models" / "model.pt").write_bytes(pickle.dumps(RunsCode(mark)))
    with pytest.raises(TeacherError, match="holds Python code"):
        load_teacher(folder)
    folder = bundle(tmp_path / "b", suffix="yaml")
    (folder / "configs" / "inference.yaml").write_text(f"a: !!python/object/apply:os.system ['touch {mark}']")
    with pytest.raises(TeacherError, match="cannot be read as plain data: could not determine a constructor"):
        load_teacher(folder)
    assert not mark.exists()


def test_an_incomplete_bundle_is_refused(tmp_path: Path):
    folder = bundle(tmp_path / "a")
    (folder / "configs" / "inference.json").write_text("[]")
    with pytest.raises(TeacherError, match="does not hold a mapping"):
        load_teacher(folder)
    (folder / "configs" / "inference.json").write_text("{")
    with pytest.raises(TeacherError, match="cannot be read as plain data"):
        load_teacher(folder)
    (folder / "configs" / "inference.json").unlink()
    with pytest.raises(TeacherError, match="needs configs/metadata and configs/inference or configs/train"):
        load_teacher(folder)
    folder = bundle(tmp_path / "b")
    (folder / "models" / "model.pt").unlink()
    with pytest.raises(TeacherError, match=r"has neither models/model\.pt nor models/model\.ts"):
        load_teacher(folder)
    with pytest.raises(TeacherError, match="has no network_def; give model"):
        load_teacher(bundle(tmp_path / "c", inference(network_def=None)))
    short = {key: value for key, value in NETWORK.items() if key != "in_channels"}
    with pytest.raises(TeacherError, match="network_def has no in_channels"):
        load_teacher(bundle(tmp_path / "d", inference(network_def=short)))
    wide = bundle(tmp_path / "e", inference(network_def=NETWORK | {"channels": [8, 16, 32]}))
    with pytest.raises(TeacherError, match="does not fit the network"):
        load_teacher(wide)
