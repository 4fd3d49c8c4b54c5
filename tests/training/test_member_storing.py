"""Ensembles stored member by member: the same answers as live, shared with runs of one member."""

from __future__ import annotations

import pytest
import torch

from meddistill.data.seeding import mixed_seed
from meddistill.data.transforms import Sample, make_transform
from meddistill.errors import TeacherError
from meddistill.methods import METHODS
from meddistill.methods.base import Method
from meddistill.teachers.base import UNKNOWN
from meddistill.training.assembly import assemble
from meddistill.training.fit import fit
from meddistill.training.member_storing import StoredMembers, stores_for
from meddistill.training.run_folder import read_json
from meddistill.training.steps import StepLoop
from meddistill.training.storing import Stored
from tests.recipes import tiny_recipe

SEEN: list[torch.Tensor] = []


class LearnsFromEach(Method):
    """The mean over members of the divergence from each; notes what it was given."""

    needs_teacher = needs_members = True

    def __call__(self, student_logits, batch, teacher_logits=None):
        SEEN.append(teacher_logits)
        target = teacher_logits.softmax(2).mean(1)
        loss = -(target * student_logits.log_softmax(1)).sum(1).mean()
        return {"loss": loss, "kd": loss.detach()}


@pytest.fixture(autouse=True)
def method(monkeypatch):
    monkeypatch.setitem(METHODS, "each", LearnsFromEach)
    SEEN.clear()


def recipe_of(*members, method="each", data=None, **teacher):
    return tiny_recipe(
        method={"name": method},
        teacher={"members": list(members), **teacher},
        data=data or {},
        training={"epochs": 1, "precision": "32"},
    )


def pair(run):
    """Two members that answer differently."""
    return {"path": str(run.root)}, {"path": str(run.root), "mean": [0.4]}


def task_of(recipe):
    task = assemble(recipe)
    task.ready(torch.device("cpu"))
    return task


def stored_of(recipe, folder):
    task = task_of(recipe)
    return task, stores_for(recipe, task.data, task.teacher, folder, method=task.method)


def images(task, count=4):
    return task.data.dataset("train").cache.images.read(range(count)).float() / 255


def test_the_stacked_and_the_joined_logits_are_those_of_the_live_ensemble(tmp_path, teacher_run):
    task, stored = stored_of(recipe_of(*pair(teacher_run), weights=[1.0, 3.0]), tmp_path)
    cases, keys = tuple(task.data.cases("train")), [(0, n) for n in range(4)]
    stacked, live = stored.of_members(cases).read(keys), task.teacher.answers(images(task))
    assert stacked.shape == live.shape == (4, 2, 2, 32, 32)
    assert not torch.equal(live[:, 0], live[:, 1])
    torch.testing.assert_close(stacked.softmax(2), live.softmax(2), atol=3e-4, rtol=0)
    joined = stored.of_images(cases).read(keys).softmax(1)
    torch.testing.assert_close(joined, task.teacher(images(task)).softmax(1), atol=3e-4, rtol=0)
    expected = (live.softmax(2) * torch.tensor([0.25, 0.75]).view(1, 2, 1, 1, 1)).sum(1)
    torch.testing.assert_close(joined, expected, atol=3e-4, rtol=0)


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
@pytest.mark.parametrize("weights", ["uniform", "confidence", [[1.0, 3.0], [2.0, 1.0]]])
def test_members_are_joined_as_the_live_ensemble_joins_them(tmp_path, teacher_run, weights, combine):
    task, stored = stored_of(recipe_of(*pair(teacher_run), weights=weights, combine=combine), tmp_path)
    joined = stored.of_images(tuple(task.data.cases("train"))).read([(0, n) for n in range(4)])
    live = task.teacher(images(task))
    torch.testing.assert_close(joined.softmax(1), live.softmax(1), atol=5e-4, rtol=0)


def test_each_member_has_the_store_that_it_has_alone(tmp_path, teacher_run):
    _, together = stored_of(recipe_of(*pair(teacher_run)), tmp_path)
    alone = tiny_recipe(method={"name": "distillation"}, teacher={"path": str(teacher_run.root)})
    _, stored = stored_of(alone, tmp_path)
    assert isinstance(stored, Stored)
    assert stored.annotation.written == 0
    assert stored.store.folder == together.parts[0].store.folder
    assert len(list(tmp_path.iterdir())) == 2


def test_a_method_that_wants_one_map_gets_one_joined_store(tmp_path, teacher_run):
    _, stored = stored_of(recipe_of(*pair(teacher_run), method="distillation"), tmp_path)
    assert isinstance(stored, Stored)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_lone_teacher_is_an_ensemble_of_one(tmp_path, teacher_run):
    recipe = tiny_recipe(method={"name": "each"}, teacher={"path": str(teacher_run.root)})
    task, stored = stored_of(recipe, tmp_path)
    assert isinstance(stored, StoredMembers)
    assert stored.names == ("run",)
    found = stored.logits(tuple(task.data.cases("train")), seed=0).read([(0, 1)])
    assert found.shape == task.teacher.answers(images(task, 1)).shape == (1, 1, 2, 32, 32)


@pytest.mark.parametrize("mode", ["joint", "replay", "live"])
def test_training_gives_the_method_the_members(tmp_path, teacher_run, mode):
    run = fit(recipe_of(*pair(teacher_run), data={"augment": "flip"}, mode=mode, views=2), tmp_path / "run")
    assert {tuple(logits.shape[1:]) for logits in SEEN} == {(2, 2, 32, 32)}
    if mode != "live":
        said = read_json(run.teacher_store)
        assert list(said["members"]) == ["run 1", "run 2"]
        assert said["bytes"] == sum(part["bytes"] for part in said["members"].values())


def test_stored_and_live_training_agree(tmp_path, teacher_run):
    losses = []
    for mode in ("joint", "live"):
        SEEN.clear()
        fit(recipe_of(*pair(teacher_run), mode=mode, precision="32"), tmp_path / mode)
        losses.append(torch.cat(SEEN).softmax(2))
    torch.testing.assert_close(losses[0], losses[1], atol=3e-4, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_all_members_go_the_way_of_their_image(dims):
    size = (12,) * dims
    logits = torch.rand(3, 2, *size)
    sample = Sample(image=torch.rand(1, *size), label=torch.zeros(size).long(), teacher_logits=logits)
    transform = make_transform("medium", dims=dims)
    changed = transform(sample, mixed_seed(5))["teacher_logits"]
    assert changed.shape == logits.shape
    for member in range(3):
        alone = transform(Sample({**sample, "teacher_logits": logits[member]}), mixed_seed(5))
        assert torch.equal(changed[member], alone["teacher_logits"])


def experts(path, **teacher):
    """Two members of three classes, of which each knows one organ."""
    maps = [[0, 1, None], [0, None, 1]]
    return tiny_recipe(
        method={"name": "each"},
        teacher={"members": [{"path": str(path), "class_map": found} for found in maps], **teacher},
    )


@pytest.mark.parametrize("encoding", ["float16", "uint8"])
def test_a_class_that_a_member_does_not_know_has_no_probability(tmp_path, teacher_run, encoding, monkeypatch):
    monkeypatch.setattr("meddistill.data.phantom.PhantomSource.class_names", ("background", "lesion", "cyst"))
    task, stored = stored_of(experts(teacher_run.root, encoding=encoding), tmp_path)
    cases = tuple(task.data.cases("train"))
    stacked = stored.of_members(cases).read([(0, 0), (0, 1)])
    live = task.teacher.answers(images(task, 2))
    for answers in (stacked, live):
        assert bool((answers[:, 0, 2] == UNKNOWN).all())
        assert bool((answers[:, 1, 1] == UNKNOWN).all())
        assert float(answers.softmax(2)[:, 0, 2].max()) == 0
    tolerance = 3e-4 if encoding == "float16" else 1 / 255
    joined = stored.of_images(cases).read([(0, 0), (0, 1)])
    torch.testing.assert_close(
        joined.softmax(1), task.teacher(images(task, 2)).softmax(1), atol=2 * tolerance, rtol=0
    )
    assert all(part.differences[0].largest <= tolerance for part in stored.parts)


def test_a_folder_that_is_one_store_is_refused(tmp_path, teacher_run):
    fit(recipe_of(*pair(teacher_run), method="distillation", store=str(tmp_path / "one")), tmp_path / "run")
    with pytest.raises(TeacherError, match=r"one is one store, but here each member .* has its own"):
        fit(recipe_of(*pair(teacher_run), store=str(tmp_path / "one")), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("mode", ["joint", "live"])
def test_steps_can_be_timed(teacher_run, mode):
    loop = StepLoop(assemble(recipe_of(*pair(teacher_run), mode=mode)))
    assert loop.step() == 4
    assert SEEN[-1].shape == (4, 2, 2, 32, 32)
