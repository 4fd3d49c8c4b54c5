"""A student as a program: it answers alike without meddistill, says how to feed it, or is not written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from meddistill.calibration import ClassTemperature, save_calibrator
from meddistill.cli import run
from meddistill.deploy import export as exporting
from meddistill.deploy.export import export
from meddistill.deploy.student import load_student
from meddistill.errors import ConfigError, RunError
from meddistill.models.spec import ModelSpec, save_weights
from meddistill.teachers import load_teacher
from meddistill.training.run_folder import RunFolder

IMAGES = ModelSpec(
    "pcd/unet", num_classes=3, options={"width": 2}, size=(16, 24), class_names=("none", "liver", "tumour")
)
SLICES = {"by": "slices", "axis": 2, "normalise": "window", "window": [-160, 240]}
SPECS = {
    "images": (IMAGES, None),
    "slices": (ModelSpec("pcd/unet", options={"width": 2}, size=(16, 16), form="dual_decoder"), SLICES),
    "patches": (
        ModelSpec("monai/unet", dims=3, options={"channels": (4, 8), "strides": (2,)}, size=(8, 16, 12)),
        {"by": "patches", "axis": 0, "normalise": "minmax", "window": None},
    ),
    "classes": (
        ModelSpec("timm/resnet10t", num_classes=4, in_channels=3, size=(32, 32), task="classification"),
        None,
    ),
}


def make_run(folder: Path, spec: ModelSpec, volumes: dict[str, Any] | None = None) -> RunFolder:
    """The files of a finished run that an export reads."""
    files = RunFolder(folder)
    folder.mkdir()
    torch.manual_seed(0)
    save_weights(spec.build(), spec, files.weights)
    described = spec.to_json() | {"interpolation": "area", "volumes": volumes}
    files.model.write_text(json.dumps(described))
    return files


def by_onnxruntime(file: Path, image: Tensor) -> tuple[Tensor, str]:
    """Answer of an ONNX file, and the description in it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    [logits] = session.run(["logits"], {"image": image.numpy()})
    return torch.from_numpy(logits), session.get_modelmeta().custom_metadata_map["meddistill.json"]


def by_torch_export(file: Path, image: Tensor) -> tuple[Tensor, str]:
    """Answer of a torch.export program, and the description in it."""
    texts = {"meddistill.json": ""}
    program = torch.export.load(file, extra_files=texts)
    return program.module()(image), texts["meddistill.json"]


def by_torchscript(file: Path, image: Tensor) -> tuple[Tensor, str]:
    """Answer of a TorchScript program, and the description in it."""
    texts = {"meddistill.json": ""}
    program = torch.jit.load(file, _extra_files=texts)
    return program(image), bytes(texts["meddistill.json"]).decode()  # type: ignore[arg-type]


RUNTIMES = {".onnx": by_onnxruntime, ".pt2": by_torch_export, ".pt": by_torchscript}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "ending"),
    [
        ("images", ".onnx"),
        ("patches", ".pt2"),
        *((kind, ".pt") for kind in SPECS),
        *(pytest.param(kind, ".pt2", marks=pytest.mark.slow) for kind in ("images", "slices", "classes")),
    ],
)
def test_the_program_answers_alike_and_says_how_to_feed_it(kind, ending, tmp_path):
    files = make_run(tmp_path / "run", *SPECS[kind])
    found = export(files.root, tmp_path / "out" / f"student{ending}")
    student = load_student(files.root)
    image = torch.rand(5, student.spec.in_channels, *student.spec.size)
    with torch.no_grad():
        expected = student.network(image)
        logits, text = RUNTIMES[ending](found.file, image)
        taught = load_teacher(found.file, num_classes=student.spec.num_classes, in_channels=image.shape[1],
                              dims=student.spec.dims)(image)  # fmt: skip
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(taught, expected, atol=1e-5, rtol=1e-4)
    assert found.difference <= 1e-5
    described = json.loads(found.description.read_text(encoding="utf-8"))
    assert json.loads(text) == described
    assert described["input"]["size"] == list(student.spec.size)
    assert described["input"]["volumes"] == SPECS[kind][1]
    assert len(described["input"]["axes"]) == image.ndim
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"student{ending}",
        f"student{ending}.json",
    ]


def test_the_description_names_the_classes(tmp_path):
    files = make_run(tmp_path / "run", IMAGES)
    found = json.loads(export(files.root, tmp_path / "a.pt").description.read_text(encoding="utf-8"))
    assert found["task"] == "segmentation"
    assert found["input"]["axes"] == ["batch", "channel", "height", "width"]
    assert (found["input"]["channels"], found["input"]["interpolation"]) == (1, "area")
    assert found["output"] == {
        "name": "logits",
        "activation": "softmax",
        "classes": ["none", "liver", "tumour"],
        "calibrated": False,
    }


def test_the_calibration_is_a_part_of_the_program(tmp_path, capfd):
    files = make_run(tmp_path / "run", IMAGES)
    save_calibrator(ClassTemperature([0.5, 2.0, 4.0]), files.calibrator)
    file = tmp_path / "a.pt"
    assert run(["export", str(files.root), "-o", str(file), "--calibrated"]) == 0
    assert "logits within" in capfd.readouterr().out
    image = torch.rand(2, 1, 16, 24)
    with torch.no_grad():
        raw = load_student(files.root).network(image)
        expected = raw.log_softmax(1) / torch.tensor([0.5, 2.0, 4.0]).view(1, 3, 1, 1)
        torch.testing.assert_close(by_torchscript(file, image)[0], expected)
    assert json.loads(file.with_name("a.pt.json").read_text())["output"]["calibrated"] is True


def test_a_branch_is_exported(tmp_path):
    files = make_run(tmp_path / "run", *SPECS["slices"])
    image = torch.rand(2, 1, 16, 16)
    for branch in ("lower", "upper"):
        found = export(files.root, tmp_path / f"{branch}.pt", branch=branch)
        with torch.no_grad():
            expected = load_student(files.root, branch=branch).network(image)
            torch.testing.assert_close(by_torchscript(found.file, image)[0], expected)
    with pytest.raises(ConfigError, match="leave the branch out"):
        export(files.root, tmp_path / "c.pt", branch="upper", calibrated=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.onx", "unknown ending of an exported file '.onx'; did you mean '.onnx'?"),
        ("a", "unknown ending of an exported file 'a'"),
        ("there.pt", "there.pt is there already; choose another name or overwrite"),
        ("described.pt", "described.pt.json is there already"),
    ],
)
def test_bad_names_are_refused_in_one_line(name, said, tmp_path, capfd):
    files = make_run(tmp_path / "run", IMAGES)
    for there in ("there.pt", "described.pt.json"):
        (tmp_path / there).write_text("precious")
    before = sorted(tmp_path.iterdir())
    assert run(["export", str(files.root), "-o", str(tmp_path / name)]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.pt").read_text() == "precious"
    assert export(files.root, tmp_path / "there.pt", overwrite=True).difference == 0


def test_a_program_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    files = make_run(tmp_path / "run", IMAGES)

    def wrong(network: nn.Module, image: Tensor, text: str) -> bytes:
        with torch.no_grad():
            next(network.parameters()).add_(1.0)
            content = exporting._torchscript(network, image, text)
            next(network.parameters()).sub_(1.0)
        return content

    monkeypatch.setitem(exporting.FORMATS, ".pt", wrong)
    with pytest.raises(
        RunError, match=r"a\.pt is not written: the program's logits differ from the student's"
    ):
        export(files.root, tmp_path / "out" / "a.pt")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_exported_is_said_in_one_line(tmp_path, monkeypatch):
    files = make_run(tmp_path / "run", IMAGES)

    def breaks(network: nn.Module, image: Tensor, text: str) -> bytes:
        raise ValueError("control flow\nof the data\nand a trace of many lines")

    monkeypatch.setitem(exporting.FORMATS, ".pt2", breaks)
    with pytest.raises(RunError) as caught:
        export(files.root, tmp_path / "a.pt2")
    assert str(caught.value) == "pcd/unet cannot be exported as .pt2: control flow; try another ending"
    monkeypatch.setattr(exporting.util, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"pip install 'meddistill\[onnx\]'"):
        export(files.root, tmp_path / "a.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
