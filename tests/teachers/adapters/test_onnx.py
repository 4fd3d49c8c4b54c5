"""ONNX models: near the network's logits, of any batch and size, with nothing foreign and nothing from
elsewhere."""

import copy
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from meddistill.errors import TeacherError
from meddistill.teachers import Ensemble, load_teacher
from meddistill.teachers.adapters.onnx_file import _INNER, looks_like_onnx, onnx_parts
from tests.teachers.adapters.files import Net, classifier

IMAGE = torch.rand(3, 1, 12, 10)


def export(path: Path, network: nn.Module, image: torch.Tensor = IMAGE, **options: object) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (image,), path, verbose=False, **options)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for any batch and size, its weights in a file beside it."""
    dims = {0: torch.export.Dim("b"), 2: torch.export.Dim("h", min=4), 3: torch.export.Dim("w", min=4)}
    path = tmp_path_factory.mktemp("onnx") / "teacher.onnx"
    model = onnx.load(export(path, Net().eval(), dynamic_shapes=(dims,)))
    beside = f"{path.name}.data"
    onnx.save_model(model, path, save_as_external_data=True, location=beside, size_threshold=0)
    assert path.with_name(beside).stat().st_size > 0
    return path


def small(
    path: Path, *nodes: onnx.NodeProto, shape: tuple[int | str, ...] = (1, 1, 4, 4), **more: object
) -> Path:
    """A model that computes with these nodes from `image` to `logits`."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "g", [image], [logits], **more)
    domains = {node.domain for node in nodes} - {""}
    opsets = [helper.make_opsetid("", 20), *(helper.make_opsetid(domain, 1) for domain in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_it_gives_the_logits_of_the_network(exported: Path):
    teacher, network = load_teacher(exported), Net().eval()
    assert (teacher.name, teacher.kind, teacher.num_classes, teacher.size) == ("teacher", "onnx", 3, None)
    for image in (IMAGE, torch.rand(1, 1, 20, 8)):
        assert torch.allclose(teacher(image), network(image), atol=1e-5)
    assert teacher.describe()["parameters"] is None


def test_a_fixed_batch_is_filled_and_a_fixed_size_is_resized_to(tmp_path: Path):
    network = classifier()
    path = export(tmp_path / "t.onnx", network, torch.rand(2, 1, 12, 10), external_data=False)
    teacher = load_teacher(path)
    assert (teacher.size, teacher.num_classes) == ((12, 10), 3)
    assert torch.allclose(teacher(IMAGE), network(IMAGE), atol=1e-5)
    assert teacher(torch.rand(5, 1, 20, 20)).shape == (5, 3)


def test_it_is_known_by_its_content(exported: Path, tmp_path: Path):
    for name in ("teacher.onnx.data", "teacher.bin"):
        source = exported if name.endswith("bin") else exported.with_name(name)
        (tmp_path / name).write_bytes(source.read_bytes())
    assert load_teacher(tmp_path / "teacher.bin").kind == "onnx"


def test_threads_follow_torch(exported: Path):
    program = load_teacher(exported).network
    program(IMAGE)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        program(IMAGE)
        cpu = torch.device("cpu")
        assert list(program._sessions) == [(cpu, before), (cpu, before + 1)]
        assert program._session(cpu).get_session_options().intra_op_num_threads == before + 1
    finally:
        torch.set_num_threads(before)


def test_the_gpu_is_asked_for_where_the_image_lies_there(exported: Path, monkeypatch: pytest.MonkeyPatch):
    import onnxruntime

    asked: list[list[object]] = []
    start = onnxruntime.InferenceSession

    def watched(content: bytes, options: object, *, providers: list[object]) -> object:
        asked.append(providers)
        return start(content, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", watched)
    program = load_teacher(exported).network
    program._session(torch.device("cuda:1"))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    program._session(torch.device("cuda:2"))
    gpu = ("CUDAExecutionProvider", {"device_id": 2})
    assert asked == [["CPUExecutionProvider"], ["CPUExecutionProvider"], [gpu, "CPUExecutionProvider"]]


def test_copies_and_ensembles_work(exported: Path):
    teacher = load_teacher(exported)
    assert torch.equal(copy.deepcopy(teacher)(IMAGE), teacher(IMAGE))
    assert Ensemble([teacher, load_teacher(Net().eval(), num_classes=3)])(IMAGE).shape == (3, 3, 12, 10)


def test_the_fingerprint_holds_the_file_and_the_one_beside_it(exported: Path, tmp_path: Path):
    first = load_teacher(exported).fingerprint()
    for name in ("teacher.onnx", "teacher.onnx.data"):
        (tmp_path / name).write_bytes(exported.with_name(name).read_bytes())
    assert load_teacher(tmp_path / "teacher.onnx").fingerprint() == first
    data = bytearray((tmp_path / "teacher.onnx.data").read_bytes())
    data[-1] ^= 1
    (tmp_path / "teacher.onnx.data").write_bytes(data)
    assert load_teacher(tmp_path / "teacher.onnx").fingerprint()["weights"] != first["weights"]


def test_half_precision_inputs_are_converted(tmp_path: Path):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT16, (None, 2, None, None))
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT16, (None, 2, None, None))
    graph = helper.make_graph([helper.make_node("Neg", ["image"], ["logits"])], "g", [image], [logits])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "t.onnx")
    teacher = load_teacher(tmp_path / "t.onnx")
    images = torch.rand(1, 2, 4, 4)
    assert torch.equal(teacher(images), -images.half().float())
    with pytest.raises(TeacherError, match="has its precision in the file; leave dtype out"):
        load_teacher(tmp_path / "t.onnx", dtype=torch.bfloat16)


def test_without_onnxruntime_one_line_says_what_to_install(exported: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(TeacherError, match=r"needs onnxruntime: pip install 'meddistill\[onnx\]'"):
        load_teacher(exported)


@pytest.mark.parametrize("domain", ["com.evil", "com.microsoft", "ai.onnx.ml"])
def test_operators_outside_the_standard_are_refused(tmp_path: Path, domain: str):
    node = helper.make_node("Run", ["image"], ["logits"], domain=domain)
    with pytest.raises(TeacherError, match=f"uses {domain}::Run, an operator outside the ONNX standard"):
        load_teacher(small(tmp_path / "t.onnx", node))


def test_foreign_operators_in_branches_are_found(tmp_path: Path):
    evil = helper.make_node("Run", ["image"], ["inner"], domain="com.evil")
    branch = helper.make_graph(
        [evil], "b", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)]
    )
    condition = numpy_helper.from_array(np.array(True), "condition")
    node = helper.make_node("If", ["condition"], ["logits"], then_branch=branch, else_branch=branch)
    with pytest.raises(TeacherError, match=r"uses com\.evil::Run"):
        load_teacher(small(tmp_path / "t.onnx", node, initializer=[condition]))


def test_functions_that_the_model_defines_itself_are_fine(tmp_path: Path):
    opset = [helper.make_opsetid("", 20)]
    body = helper.make_node("Neg", ["x"], ["y"])
    function = helper.make_function("mine", "Twice", ["x"], ["y"], [body], opset)
    path = small(tmp_path / "t.onnx", helper.make_node("Twice", ["image"], ["logits"], domain="mine"))
    model = onnx.load(path)
    model.functions.append(function)
    onnx.save(model, path)
    image = torch.rand(1, 1, 4, 4)
    assert torch.equal(load_teacher(path, num_classes=1)(image), -image)


@pytest.mark.parametrize("place", ["../secret", "/etc/hostname", "folder/secret", "link", ""])
def test_tensors_from_elsewhere_are_not_read(tmp_path: Path, place: str):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(64))
    (folder / "link").symlink_to(tmp_path / "secret")
    weight = helper.make_tensor("w", TensorProto.FLOAT, (1, 1, 4, 4), bytes(64), raw=True)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=place)
    node = helper.make_node("Add", ["image", "w"], ["logits"])
    small(folder / "base.onnx", helper.make_node("Neg", ["image"], ["logits"]))
    model = onnx.load(folder / "base.onnx")
    model.graph.initializer.append(weight)
    model.graph.node[0].CopyFrom(node)
    (folder / "t.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(TeacherError, match="they may lie in a file beside it, not elsewhere"):
        load_teacher(folder / "t.onnx")


def test_what_a_teacher_cannot_use_is_refused_in_one_line(exported: Path, tmp_path: Path):
    content = exported.read_bytes()
    cases = {
        "empty": b"",
        "text": b"this is no model",
        "cut": content[: len(content) // 2],
        "wild": content[:40] + bytes([255]) * 40,
    }
    for name, broken in cases.items():
        (tmp_path / f"{name}.onnx").write_bytes(broken)
        with pytest.raises(TeacherError, match="is not an ONNX model, or is damaged") as caught:
            load_teacher(tmp_path / f"{name}.onnx")
        assert "\n" not in str(caught.value)
    unknown = helper.make_node("NoSuchOperator", ["image"], ["logits"])
    with pytest.raises(TeacherError, match="cannot be used by ONNX Runtime"):
        load_teacher(small(tmp_path / "t.onnx", unknown))
    flat = helper.make_node("Neg", ["image"], ["logits"])
    with pytest.raises(TeacherError, match="a teacher takes one image"):
        load_teacher(small(tmp_path / "f.onnx", flat, shape=(1, 4)))
    with pytest.raises(TeacherError, match=r"takes images of 4 axes .* not of shape \(1, 1, 4, 4, 4\)"):
        load_teacher(exported)(torch.rand(1, 1, 4, 4, 4))
    with pytest.raises(TeacherError, match=r"cannot take images of shape .*Got: 2 Expected: 1"):
        load_teacher(exported).network(torch.rand(1, 2, 8, 8))


@given(content=st.binary(max_size=60))
@settings(max_examples=200)
def test_any_bytes_are_refused_without_a_crash(content: bytes):
    looks_like_onnx(content)
    with pytest.raises(TeacherError):
        onnx_parts(bytes([8, 10]) + content + bytes([255]), "noise")


def test_the_field_numbers_are_those_of_the_standard():
    messages = {
        "model": onnx.ModelProto,
        "training": onnx.TrainingInfoProto,
        "graph": onnx.GraphProto,
        "function": onnx.FunctionProto,
        "node": onnx.NodeProto,
        "attribute": onnx.AttributeProto,
        "sparse": onnx.SparseTensorProto,
        "tensor": onnx.TensorProto,
    }
    followed = {message.DESCRIPTOR.full_name: kind for kind, message in messages.items()}
    for kind, message in messages.items():
        inner = {
            found.number: followed[found.message_type.full_name]
            for found in message.DESCRIPTOR.fields
            if found.message_type is not None and found.message_type.full_name in followed
        }
        expected = {number: to for number, to in _INNER[kind].items() if to != "external"}
        assert inner == expected, kind
    [external] = [found for found in onnx.TensorProto.DESCRIPTOR.fields if found.name == "external_data"]
    assert _INNER["tensor"] == {external.number: "external"}
