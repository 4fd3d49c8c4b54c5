"""Checkpoints of any origin: safe, unwrapped, fitted by name."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from meddistill.errors import RunError
from meddistill.models.checkpoints import load_state, read_checkpoint


class RunsCode:
    """A pickle of this creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_code_does_not_run(tmp_path: Path, protocol: int):
    mark, path = tmp_path / "ran", tmp_path / "teacher.pt"
    path.write_bytes(pickle.dumps({"state_dict": RunsCode(mark)}, protocol=protocol))
    with pytest.raises(
        RunError, match=r"holds Python code.*re-save its state_dict with safetensors"
    ) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_a_torch_file_that_would_run_code_does_not_run(tmp_path: Path):
    mark, path = tmp_path / "ran", tmp_path / "teacher.pth"
    torch.save({"state_dict": RunsCode(mark)}, path)
    with pytest.raises(RunError, match=r"holds Python code \(\w+\.system\)"):
        read_checkpoint(path)
    assert not mark.exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path):
    torch.save(network(), tmp_path / "whole.pt")
    with pytest.raises(RunError, match=r"holds Python code \(torch\.nn\.modules\.container\.Sequential\)"):
        read_checkpoint(tmp_path / "whole.pt")


def test_a_numpy_scalar_in_a_checkpoint_is_named(tmp_path: Path):
    torch.save({"w": torch.zeros(1), "best": np.float64(0.5)}, tmp_path / "numpy.ckpt")
    with pytest.raises(RunError, match=r"holds Python code \(numpy\."):
        read_checkpoint(tmp_path / "numpy.ckpt")


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "x")


def write_half(path: Path) -> None:
    torch.save({"w": torch.zeros(2000)}, path)
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("hello world, this is no checkpoint"),
        lambda path: path.write_text("Reading this as a pickle fails\n"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes(range(256)) * 20),
        lambda path: path.write_bytes(pickle.dumps([1, 2, 3])),
        write_zip,
        write_half,
    ],
)
def test_a_file_that_is_no_checkpoint_gives_one_line(tmp_path: Path, write: Callable[[Path], object]):
    path = tmp_path / "teacher.pt"
    write(path)
    with pytest.raises(RunError, match=r"teacher\.pt is not a checkpoint, or is damaged") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{"epoch": 3}, {}, torch.zeros(3), {"state_dict": {"a": 1}}])
def test_a_checkpoint_without_weights_is_refused(tmp_path: Path, content: object):
    torch.save(content, tmp_path / "empty.pt")
    with pytest.raises(RunError, match="holds no weights"):
        read_checkpoint(tmp_path / "empty.pt")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(RunError, match=r"cannot read .*nothing\.pt: No such file"):
        read_checkpoint(tmp_path / "nothing.pt")


@pytest.mark.parametrize(
    "nest", [[], ["state_dict"], ["model"], ["model", "state_dict"], ["model_state_dict"]]
)
def test_nests_are_opened(tmp_path: Path, nest: list[str]):
    content: object = network().state_dict()
    for key in reversed(nest):
        content = {key: content, "epoch": 4}
    torch.save(content, tmp_path / "teacher.pt")
    assert read_checkpoint(tmp_path / "teacher.pt").keys() == network().state_dict().keys()


@given(
    prefixes=st.lists(
        st.sampled_from(["module.", "model.", "student.", "network.", "_orig_mod."]), max_size=3
    )
)
def test_common_prefixes_are_stripped(prefixes: list[str]):
    source, target = network(), network()
    load_state(target, {"".join(prefixes) + key: value for key, value in source.state_dict().items()})
    assert torch.equal(target[0].weight, source[0].weight)


def test_the_prefixes_of_the_network_itself_are_known():
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = network()

    source, target = network(), Wrapped()
    load_state(target, source.state_dict())
    assert torch.equal(target.model[0].weight, source[0].weight)
    load_state(source, {f"module.{key}": value + 1 for key, value in target.state_dict().items()})
    assert torch.equal(source[0].weight, target.model[0].weight + 1)


def test_the_student_is_found_beside_other_parts():
    source, target = network(), network()
    state = {f"student.{key}": value for key, value in source.state_dict().items()}
    state |= {f"teacher.{key}": value + 1 for key, value in source.state_dict().items()}
    load_state(target, {**state, "loss.weight": torch.ones(2)})
    assert torch.equal(target[0].weight, source[0].weight)


def test_what_does_not_fit_is_named_and_nothing_is_loaded():
    target = network()
    before = target[0].weight.clone()
    state = dict(network().state_dict())
    state["0.weight"] = torch.zeros(2, 3, 3, 3)
    state["extra.bias"] = state.pop("0.bias")
    with pytest.raises(RunError) as caught:
        load_state(target, state, source="teacher.pt")
    assert str(caught.value) == (
        "teacher.pt does not fit the network: missing 0.bias; unexpected extra.bias; "
        "wrong shape 0.weight (2, 3, 3, 3) instead of (2, 1, 3, 3)"
    )
    assert torch.equal(target[0].weight, before)


def test_only_the_first_few_names_are_listed():
    with pytest.raises(RunError, match=r"missing 0\.weight, 0\.bias, 1\.weight and 4 more; unexpected z"):
        load_state(network(), {"z": torch.zeros(1)})
