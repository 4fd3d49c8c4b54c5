"""torch.export programs: the same logits to the bit, built without evaluating anything of the file."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from meddistill.errors import TeacherError
from meddistill.models import create_model
from meddistill.teachers import load_teacher
from tests.mistakes import RunsCode
from tests.teachers.adapters.files import Net, change_json, classifier, read_records, write_records

IMAGE = torch.rand(3, 1, 12, 10)
MODEL = "models/model.json"
B, H, W = (torch.export.Dim(name, min=low, max=64) for name, low in (("b", 1), ("h", 4), ("w", 4)))


def export(path: Path, network: nn.Module, image: Tensor = IMAGE, shapes: object = None) -> Path:
    torch.export.save(torch.export.export(network, (image,), dynamic_shapes=shapes), path)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program for any batch and size."""
    return export(tmp_path_factory.mktemp("pt2") / "teacher.pt2", Net().eval(), shapes=({0: B, 2: H, 3: W},))


def test_it_gives_the_logits_of_the_network_to_the_bit(exported: Path):
    teacher, network = load_teacher(exported), Net().eval()
    assert (teacher.name, teacher.kind, teacher.num_classes, teacher.size) == ("teacher", "pt2", 3, None)
    for image in (IMAGE, torch.rand(1, 1, 20, 7)):
        assert torch.equal(teacher(image), network(image))


@pytest.mark.parametrize("name", ["smp/unet", "smp/segformer", "monai/dynunet", "monai/segresnet"])
def test_networks_of_the_libraries(tmp_path: Path, name: str):
    options = {"smp/unet": {"encoder_name": "mobilenet_v2"}, "smp/segformer": {"encoder_name": "mit_b0"}}
    network = create_model(name, 1, 2, **options.get(name, {})).eval()
    image = torch.rand(1, 1, 64, 64)
    teacher = load_teacher(export(tmp_path / "t.pt2", network, image))
    assert torch.equal(teacher(image), network(image))


def test_a_fixed_batch_is_filled_and_a_fixed_size_is_resized_to(tmp_path: Path):
    network = Net().eval()
    teacher = load_teacher(export(tmp_path / "t.pt2", network, torch.rand(2, 1, 12, 10)))
    assert teacher.size == (12, 10)
    assert torch.allclose(teacher(IMAGE), network(IMAGE), atol=1e-6)
    assert teacher(torch.rand(5, 1, 17, 9)).shape == (5, 3, 17, 9)
    with pytest.raises(TeacherError, match=r"takes images of \[12, 10\] alone; leave size out"):
        load_teacher(tmp_path / "t.pt2", size=[16, 16])


def test_images_are_padded_to_the_multiples_that_it_takes(tmp_path: Path):
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(4), nn.Upsample(scale_factor=4)
    ).eval()
    shapes = ({2: 4 * torch.export.Dim("h4", max=16), 3: 4 * torch.export.Dim("w4", max=16)},)
    teacher = load_teacher(export(tmp_path / "t.pt2", network, torch.rand(1, 1, 16, 16), shapes))
    assert teacher(torch.rand(1, 1, 13, 18)).shape == (1, 2, 13, 18)
    image = torch.rand(1, 1, 8, 12)
    assert torch.equal(teacher(image), network(image))


def test_one_answer_per_image_and_outputs_by_name(tmp_path: Path):
    network = classifier()
    assert torch.equal(load_teacher(export(tmp_path / "c.pt2", network))(IMAGE), network(IMAGE))

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net().eval()

        def forward(self, image: Tensor) -> dict[str, Tensor]:
            return {"aux": image, "out": self.net(image)}

    teacher = load_teacher(export(tmp_path / "n.pt2", Named().eval()))
    assert torch.equal(teacher(IMAGE), Net().eval()(IMAGE))


def test_operators_with_several_outputs_text_and_devices(tmp_path: Path):
    class Odd(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            first, second = image.repeat(1, 4, 1, 1).split(2, dim=1)
            largest, _ = first.max(dim=1, keepdim=True)
            grid = torch.arange(image.shape[3], device=image.device, dtype=image.dtype)
            halves = torch.div(second, 0.5, rounding_mode="floor")
            return torch.cat(
                [largest * grid, torch.einsum("bchw->bc", halves)[..., :1, None, None] + largest], 1
            )

    network = Odd().eval()
    teacher = load_teacher(export(tmp_path / "t.pt2", network))
    assert torch.equal(teacher(IMAGE), network(IMAGE))
    assert teacher.network.to("meta")(IMAGE.to("meta")).device.type == "meta"


def test_the_fingerprint_is_that_of_the_file(exported: Path, tmp_path: Path):
    first = load_teacher(exported).fingerprint()
    copy = tmp_path / "copy.pt"
    copy.write_bytes(exported.read_bytes())
    assert load_teacher(copy).fingerprint() == first
    other = load_teacher(export(tmp_path / "t.pt2", Net(channels=3).eval(), torch.rand(1, 3, 8, 8)))
    assert other.fingerprint()["weights"] != first["weights"]


def test_a_network_exported_in_training_mode_is_refused(tmp_path: Path):
    for number, network in enumerate(
        (Net().train(), nn.Sequential(nn.Conv2d(1, 2, 1), nn.Dropout()).train())
    ):
        path = export(tmp_path / f"{number}.pt2", network)
        with pytest.raises(TeacherError, match=r"call eval\(\) on the network before"):
            load_teacher(path)


def pickled(mark: Path, wrap: Callable[[object], object]) -> bytes:
    buffer = io.BytesIO()
    torch.save(wrap(RunsCode(mark)), buffer)
    return buffer.getvalue()


Change = Callable[[dict[str, bytes], Path], None]


def in_samples(records: dict[str, bytes], mark: Path) -> None:
    records["data/sample_inputs/model.pt"] = pickled(mark, lambda evil: ((evil,), {}))


def in_weights(records: dict[str, bytes], mark: Path) -> None:
    records["data/weights/weight_0"] = pickled(mark, lambda evil: evil)
    change_json(
        records,
        "data/weights/model_weights_config.json",
        lambda found: next(iter(found["config"].values())).update(use_pickle=True),
    )


def in_old_weights(records: dict[str, bytes], mark: Path) -> None:
    records["data/weights/model.pt"] = pickled(mark, lambda evil: {"weight": evil})


def in_old_constants(records: dict[str, bytes], mark: Path) -> None:
    records["data/constants/model.pt"] = pickled(mark, lambda evil: {"weight": evil})


def code(mark: Path) -> str:
    return f"__import__('os').system('touch {mark}')"


def in_shapes(records: dict[str, bytes], mark: Path) -> None:
    def change(program: Any) -> None:
        for meta in program["graph_module"]["graph"]["tensor_values"].values():
            for size in meta["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = code(mark)

    change_json(records, MODEL, change)


def in_guards(records: dict[str, bytes], mark: Path) -> None:
    change_json(records, MODEL, lambda program: program.update(guards_code=[f"{code(mark)} == 0"]))


def in_names(records: dict[str, bytes], mark: Path) -> None:
    named = json.dumps(f"image=({code(mark)})")[1:-1]
    records[MODEL] = records[MODEL].replace(b'"image"', f'"{named}"'.encode())


def in_structure(records: dict[str, bytes], mark: Path) -> None:
    (mark.parent / "evil_module.py").write_text(f"open({str(mark)!r}, 'w')\nfactory = int\n")
    context = {"default_factory_module": "evil_module", "default_factory_name": "factory", "dict_context": []}
    spec = [1, {"type": "collections.defaultdict", "context": context, "children_spec": []}]

    def change(program: Any) -> None:
        program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps(spec)

    change_json(records, MODEL, change)


def in_operators(target: str) -> Change:
    def change(records: dict[str, bytes], mark: Path) -> None:
        arguments = {"filename": {"as_string": str(mark)}, "shared": {"as_bool": True}, "size": {"as_int": 4}}
        inputs = [{"name": name, "arg": value, "kind": 1} for name, value in arguments.items()]
        outputs = [{"as_tensor": {"name": "evil"}}]
        node = {"target": target, "inputs": inputs, "outputs": outputs, "metadata": {}}
        change_json(records, MODEL, lambda program: program["graph_module"]["graph"]["nodes"].insert(0, node))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (in_samples, None),
        (in_shapes, None),
        (in_guards, None),
        (in_names, None),
        (in_structure, None),
        (in_weights, "holds pickled objects; it is not loaded"),
        (in_old_weights, "holds pickled weights; export it again"),
        (in_old_constants, "holds pickled constants; export it again"),
        (
            in_operators("torch.ops.aten.from_file.default"),
            "uses 'torch\\.ops\\.aten\\.from_file\\.default', which",
        ),
        (
            in_operators("torch.ops.image.write_file.default"),
            "uses 'torch.ops.image.write_file.default', which",
        ),
        (in_operators("torch.ops.load_library"), "uses 'torch.ops.load_library', which"),
        (in_operators("torch.ops.aten.__init__.__globals__"), "which is no operator of torch"),
        (in_operators("torch.ops.higher_order.cond"), "uses 'torch.ops.higher_order.cond', which"),
        (in_operators("_operator.methodcaller"), "uses '_operator.methodcaller', which"),
        (in_operators("torch.ops.aten.no_such.default"), "which is no operator of torch"),
    ],
)
def test_nothing_of_the_file_is_run(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change, said: str | None
):
    """What is not needed is not looked at; what is needed is refused."""
    mark = tmp_path / "mark"
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    records = read_records(exported)
    change(records, mark)
    path = write_records(tmp_path / "evil.pt2", records)
    if said is None:
        assert torch.equal(load_teacher(path)(IMAGE), Net().eval()(IMAGE))
    else:
        with pytest.raises(TeacherError, match=said) as caught:
            load_teacher(path)
        assert "\n" not in str(caught.value)
    assert not mark.exists()
    assert "evil_module" not in sys.modules


def test_compiled_code_is_refused(exported: Path, tmp_path: Path):
    records = read_records(exported) | {"data/aotinductor/model/a.so": b"\x7fELF"}
    with pytest.raises(TeacherError, match="holds compiled code"):
        load_teacher(write_records(tmp_path / "t.pt2", records))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda program: program.update(schema_version={"major": 9, "minor": 1}),
            "has version 9 of the format and 8",
        ),
        (lambda program: program.pop("schema_version"), "is damaged"),
        (lambda program: program["graph_module"].pop("signature"), "is damaged: 'signature'"),
        (lambda program: program["graph_module"]["graph"]["nodes"][0].pop("inputs"), "is damaged"),
        (lambda program: program["graph_module"]["graph"].update(outputs=[]), "is damaged"),
        (lambda program: program["graph_module"]["signature"]["input_specs"].pop(0), "is damaged"),
        (lambda program: program["graph_module"]["graph"]["nodes"].append(7), "is damaged"),
    ],
)
def test_a_damaged_graph_is_refused(
    exported: Path, tmp_path: Path, change: Callable[[Any], object], said: str
):
    records = read_records(exported)
    change_json(records, MODEL, change)
    with pytest.raises(TeacherError, match=said) as caught:
        load_teacher(write_records(tmp_path / "t.pt2", records))
    assert "\n" not in str(caught.value)


def test_tensors_that_reach_beyond_their_bytes_are_refused(exported: Path, tmp_path: Path):
    records = read_records(exported)

    def change(found: Any) -> None:
        next(iter(found["config"].values()))["tensor_meta"]["sizes"] = [{"as_int": 10**6}] * 4

    change_json(records, "data/weights/model_weights_config.json", change)
    with pytest.raises(TeacherError, match="is damaged: setStorage"):
        load_teacher(write_records(tmp_path / "t.pt2", records))


def test_a_program_of_two_images_is_refused(tmp_path: Path):
    class Two(nn.Module):
        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return first + second

    torch.export.save(torch.export.export(Two(), (IMAGE, IMAGE)), tmp_path / "t.pt2")
    with pytest.raises(TeacherError, match="takes more than one image"):
        load_teacher(tmp_path / "t.pt2")


def test_an_old_archive_is_refused(tmp_path: Path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "t.pt2", "w") as archive:
        archive.writestr("version", "8.1")
        archive.writestr("serialized_exported_program.json", "{}")
    with pytest.raises(TeacherError, match=r"is no program of torch\.export\.save, or is damaged"):
        load_teacher(tmp_path / "t.pt2")
