"""TorchScript: the same logits as the network, and nothing but tensors is computed."""

import io
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from meddistill.errors import TeacherError
from meddistill.teachers import load_teacher
from meddistill.teachers.adapters.operators import FILE_OPERATORS, SCRIPT_PRIMITIVES
from tests.mistakes import SavesWhenLoaded
from tests.teachers.adapters.files import Net, classifier, read_records, write_records

IMAGE = torch.rand(3, 1, 12, 10)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ts", ".ckpt"])
def test_a_traced_network_gives_the_logits_of_the_network(tmp_path: Path, suffix: str):
    network = Net().eval()
    path = tmp_path / f"teacher{suffix}"
    torch.jit.trace(network, IMAGE).save(path)
    teacher = load_teacher(path, num_classes=3)
    assert (teacher.name, teacher.kind, teacher.in_channels) == ("teacher", "torchscript", 1)
    assert torch.equal(teacher(IMAGE), network(IMAGE))


def test_a_scripted_network_stays_in_evaluation_mode(tmp_path: Path):
    network = Net().train()
    torch.jit.script(network).save(tmp_path / "t.pt")
    teacher = load_teacher(tmp_path / "t.pt", num_classes=3).train()
    assert torch.equal(teacher(IMAGE), network.eval()(IMAGE))
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_frozen_program_and_one_that_answers_once_per_image(tmp_path: Path):
    network = classifier()
    torch.jit.freeze(torch.jit.script(network)).save(tmp_path / "t.pt")
    teacher = load_teacher(tmp_path / "t.pt", num_classes=3)
    assert torch.allclose(teacher(IMAGE), network(IMAGE), atol=1e-6)


def test_the_first_layer_says_how_many_channels_it_takes(tmp_path: Path):
    torch.jit.script(Net(channels=3).eval()).save(tmp_path / "rgb.pt")
    teacher = load_teacher(tmp_path / "rgb.pt", num_classes=3)
    assert teacher.in_channels == 3
    assert teacher(IMAGE).shape == (3, 3, 12, 10)


def test_the_fingerprint_is_that_of_the_file(tmp_path: Path):
    for name in ("a", "b"):
        torch.jit.script(Net().eval()).save(tmp_path / f"{name}.pt")
    first = load_teacher(tmp_path / "a.pt", num_classes=3).fingerprint()
    assert load_teacher(tmp_path / "a.pt", num_classes=3).fingerprint() == first
    other = load_teacher(tmp_path / "a.pt", num_classes=3, mean=[0.5]).fingerprint()
    assert other["weights"] == first["weights"]
    network = Net().eval()
    network.head.weight.data[0] += 1e-3
    torch.jit.script(network).save(tmp_path / "b.pt")
    assert load_teacher(tmp_path / "b.pt", num_classes=3).fingerprint()["weights"] != first["weights"]


def test_an_image_that_does_not_fit_is_refused_in_one_line(tmp_path: Path):
    torch.jit.trace(Net(channels=4).eval(), torch.rand(1, 4, 8, 8)).save(tmp_path / "t.pt")
    teacher = load_teacher(tmp_path / "t.pt", num_classes=3)
    teacher.in_channels = 1
    with pytest.raises(
        TeacherError, match=r"cannot take images of shape \(3, 1, 12, 10\): .*4 channels"
    ) as caught:
        teacher(IMAGE)
    assert "\n" not in str(caught.value)


def test_another_number_of_classes_is_refused(tmp_path: Path):
    torch.jit.trace(Net().eval(), IMAGE).save(tmp_path / "t.pt")
    with pytest.raises(TeacherError, match="give the num_classes"):
        load_teacher(tmp_path / "t.pt")(IMAGE)


def test_a_network_traced_in_training_mode_is_refused(tmp_path: Path):
    torch.jit.trace(Net().train(), IMAGE, check_trace=False).save(tmp_path / "t.pt")
    with pytest.raises(TeacherError, match=r"traced in training mode; call eval\(\)"):
        load_teacher(tmp_path / "t.pt")


class SavesWhenCalled(nn.Module):
    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = mark

    def forward(self, image: Tensor) -> Tensor:
        torch.save(image, self.mark)
        return image


class MapsAFile(SavesWhenCalled):
    def forward(self, image: Tensor) -> Tensor:
        return image + torch.from_file(self.mark, True, 1)


class UsesForeignOperators(SavesWhenCalled):
    def forward(self, image: Tensor) -> Tensor:
        torch.ops.image.write_file(self.mark, image.to(torch.uint8).flatten())
        return image


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (SavesWhenLoaded, "runs code while it is loaded"),
        (SavesWhenCalled, "touches files"),
        (MapsAFile, "touches files"),
        (UsesForeignOperators, "uses operators of another library"),
    ],
)
def test_a_program_that_does_more_than_compute_is_refused(
    tmp_path: Path, program: type[nn.Module], said: str
):
    import torchvision  # noqa: F401 - registers the operators that the last program asks for

    mark = tmp_path / "mark"
    torch.jit.script(program(str(mark))).save(tmp_path / "t.pt")
    mark.unlink(missing_ok=True)
    with pytest.raises(TeacherError, match=f"{said}.*it is not loaded") as caught:
        load_teacher(tmp_path / "t.pt")
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_the_compiled_graph_is_searched_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As if the search of the sources had overlooked something."""
    monkeypatch.setattr("meddistill.teachers.adapters.torchscript._REFUSED", {})
    mark = tmp_path / "mark"
    for program, operator in ((SavesWhenCalled, "aten::save"), (MapsAFile, "aten::from_file")):
        torch.jit.script(program(str(mark))).save(tmp_path / "t.pt")
        with pytest.raises(TeacherError, match=f"uses {operator}, which a teacher has no need of"):
            load_teacher(tmp_path / "t.pt")
    assert not mark.exists()


def test_objects_of_compiled_classes_are_refused(tmp_path: Path):
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.packed = torch.ops.quantized.linear_prepack(
                torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8), None
            )

        def forward(self, image: Tensor) -> Tensor:
            return torch.ops.quantized.linear_dynamic(image, self.packed)

    torch.jit.script(Layer()).save(tmp_path / "t.pt")
    with pytest.raises(TeacherError, match=r"objects of compiled classes|operators of another library"):
        load_teacher(tmp_path / "t.pt")


@pytest.mark.parametrize("name", ["CODE/__torch__.py", "model.json", "bytecode.pkl"])
def test_records_that_torchscript_does_not_write_are_refused(tmp_path: Path, name: str):
    torch.jit.script(Net().eval()).save(tmp_path / "t.pt")
    records = read_records(tmp_path / "t.pt") | {name: b"{}"}
    write_records(tmp_path / "changed.pt", records)
    with pytest.raises(TeacherError, match="which TorchScript does not write"):
        load_teacher(tmp_path / "changed.pt")


def test_a_damaged_archive_is_refused(tmp_path: Path):
    torch.jit.script(Net().eval()).save(tmp_path / "t.pt")
    records = read_records(tmp_path / "t.pt")
    records["data.pkl"] = b"nonsense"
    write_records(tmp_path / "changed.pt", records)
    with pytest.raises(TeacherError, match="cannot be loaded as TorchScript") as caught:
        load_teacher(tmp_path / "changed.pt")
    assert "\n" not in str(caught.value)


def test_the_refused_operators_are_all_that_take_file_names():
    """A newer torch may have more of them."""
    schemas = torch._C._jit_get_all_schemas()
    ours = [schema for schema in schemas if schema.name.startswith(("aten::", "prim::"))]
    named = {s.name for s in ours if any("file" in a.name or a.name == "path" for a in s.arguments)}
    assert named - {"aten::einsum"} == FILE_OPERATORS
    assert {"prim::PythonOp", "prim::rpc_async", "prim::fork", "prim::Print"}.isdisjoint(SCRIPT_PRIMITIVES)


def test_a_text_is_not_mistaken_for_code(tmp_path: Path):
    """Class names that contain `ops`, as torchvision's do, are no operators."""
    torchvision = pytest.importorskip("torchvision")
    network = torchvision.models.mobilenet_v2(num_classes=3, width_mult=0.1).eval()
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    (tmp_path / "t.pt").write_bytes(buffer.getvalue())
    teacher = load_teacher(tmp_path / "t.pt", num_classes=3)
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(teacher(image), network(image))
