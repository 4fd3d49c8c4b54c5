"""Compiled networks: in place, with the names of their weights, and one line where it cannot be done."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from meddistill.deploy.predict import predict
from meddistill.errors import ConfigError
from meddistill.models import load_model
from meddistill.training import compiling
from meddistill.training.assembly import assemble
from meddistill.training.evaluate import evaluate
from meddistill.training.fit import fit
from meddistill.training.hardware import takes_bf16
from tests.data.builders import busi_tree
from tests.recipes import tiny_recipe


@pytest.fixture
def shapes(monkeypatch) -> list[tuple[int, ...]]:
    """The shape of the image of every graph; "compiles" by doing nothing."""
    seen = []

    def backend(graph, inputs):
        seen.extend(tuple(value.shape) for value in inputs if not isinstance(value, nn.Parameter))
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setitem(compiling.OPTIONS, "backend", backend)
    return seen


def refuses(graph, inputs):
    raise OSError("no compiler here\nand a long explanation")


class Doubled(nn.Module):
    def forward(self, image):
        return 2 * image


def distilled(teacher_run, **changes):
    teacher = {"path": str(teacher_run.root), **changes.pop("teacher", {})}
    return tiny_recipe(teacher=teacher, method={"name": "distillation"}, **changes)


def test_a_compiled_run_ends_with_the_weights_of_a_plain_one(tmp_path, teacher_run, shapes):
    plain = fit(distilled(teacher_run), tmp_path / "plain")
    assert not shapes
    recipe = distilled(teacher_run, teacher={"compile": True}, training={"compile": True})
    compiled = fit(recipe, tmp_path / "compiled")
    assert shapes
    expected, found = load_file(plain.last_weights), load_file(compiled.last_weights)
    assert list(found) == list(expected)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_compiled_run_can_be_scored_used_and_resumed(tmp_path, shapes):
    recipe = tiny_recipe(training={"compile": True, "epochs": 1})
    run = fit(recipe, tmp_path / "run")
    evaluate(run.root)
    assert len(predict(run.root, busi_tree(tmp_path / "images", per_class=1), tmp_path / "masks")) == 3
    assert load_model(run.weights)[0].name == "pcd/unet"
    run.write_state(state="running")  # as if killed just before the end was written
    weights = load_file(run.last_weights)
    fit(recipe, tmp_path / "run", resume=True)
    assert all(torch.equal(value, weights[name]) for name, value in load_file(run.last_weights).items())


def test_each_network_is_compiled_only_where_the_recipe_says_so(teacher_run):
    for student, teacher in ((True, False), (False, True)):
        task = assemble(distilled(teacher_run, teacher={"compile": teacher}, training={"compile": student}))
        compiling.compile_networks(task.student if student else None, task.teacher if teacher else None)
        assert (task.student._compiled_call_impl is not None) == student
        assert (task.teacher.network._compiled_call_impl is not None) == teacher


def test_every_size_of_batch_has_its_own_graph(shapes):
    """None that fits several sizes: which of two a batch meets would depend on what came before it."""
    network = Doubled()
    compiling.compile_networks(network, None)
    for cases in (4, 3, 4, 2, 3, *range(5, 20)):
        network(torch.zeros(cases, 1, 32, 32))
    assert [shape[0] for shape in shapes] == [4, 3, 2, *range(5, 20)]


def test_a_machine_that_cannot_compile_is_found_before_the_folder_is_made(tmp_path, monkeypatch):
    torch._dynamo.reset()
    monkeypatch.setitem(compiling.OPTIONS, "backend", refuses)
    with pytest.raises(ConfigError, match=r"^torch.compile failed \(no compiler here\); set .* false") as e:
        fit(tiny_recipe(training={"compile": True}), tmp_path / "run")
    assert len(str(e.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_other_errors_keep_their_kind():
    with pytest.raises(RuntimeError, match="shapes differ"), compiling.compile_errors():
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize(
    ("precision", "mode", "dtype"),
    [
        ("32", "live", None),
        ("bf16", "joint", torch.bfloat16),
        ("auto", "live", torch.bfloat16 if takes_bf16("auto", "cpu") else None),
        ("auto", "joint", None),
    ],
)
def test_the_teacher_computes_in_the_precision_of_the_recipe(teacher_run, precision, mode, dtype):
    """A store does not depend on the machine unless the recipe asks for a precision."""
    changes = {"teacher": {"precision": precision, "mode": mode}, "training": {"accelerator": "cpu"}}
    teacher = assemble(distilled(teacher_run, **changes)).teacher
    assert teacher.dtype is dtype
    assert teacher(torch.rand(1, 1, 32, 32)).dtype is torch.float32


@pytest.mark.slow
def test_a_really_compiled_run_learns_what_a_plain_one_learns(tmp_path):
    changes = {"precision": "32", "epochs": 2}
    plain = fit(tiny_recipe(training=changes), tmp_path / "plain")
    compiled = fit(tiny_recipe(training={**changes, "compile": True}), tmp_path / "compiled")
    expected, found = load_file(plain.last_weights), load_file(compiled.last_weights)
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=2e-2), name
