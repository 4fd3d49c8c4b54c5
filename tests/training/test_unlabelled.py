"""Images without labels: inspected, annotated by a teacher, refused by methods that need labels."""

from __future__ import annotations

import shutil

import pytest

from meddistill.cli import run
from meddistill.data import CaseDataset
from meddistill.errors import ConfigError, TeacherError
from meddistill.methods import Supervised
from meddistill.training.assembly import assemble
from meddistill.training.callbacks import write_history
from meddistill.training.data import TaskData
from meddistill.training.inspection import inspect_data
from meddistill.training.preparation import calibrate, check_teacher
from meddistill.training.recipe_teacher import weigh
from meddistill.training.run_folder import RunFolder
from meddistill.training.study import PlannedRun, run_study
from meddistill.training.supervision import check_labels
from tests.data.builders import busi_tree
from tests.mistakes import snapshot, the_line
from tests.recipes import tiny_recipe, write_recipe
from tests.training.test_fit import history


@pytest.fixture
def root(tmp_path):
    return busi_tree(tmp_path / "images", per_class=6, size=(40, 36))


def on(root, **more):
    return {"data": {"source": {"kind": "images", "root": str(root)}}, **more}


def taught_by(teacher_run, **teacher):
    return {"method": {"name": "distillation"}, "teacher": {"path": str(teacher_run.root), **teacher}}


def taught(root, teacher_run, **teacher):
    return on(root, **taught_by(teacher_run, **teacher))


def test_inspection_says_so_and_finds_no_errors(root, tmp_path):
    for mask in root.rglob("*_mask.png"):
        mask.write_bytes(b"never opened")
    found = inspect_data(str(write_recipe(tmp_path, **on(root))), sheet=tmp_path / "sheet.png")
    assert not found.has_errors
    [note] = found.of_kind("no-labels")
    assert note.level == "note"
    [left_out] = found.of_kind("masks-left-out")
    assert left_out.message.startswith("18 files named as masks")
    assert not found.of_kind("unlabelled")
    assert not found.of_kind("absent-class")
    assert "Label values" not in {table.title for table in found.tables}
    assert found.num_cases == 18


def test_inspection_of_a_folder_by_kind(root, capfd):
    (root / "benign/benign (1)_mask.png").unlink()
    assert run(["inspect", str(root), "--kind", "images"]) == 0
    assert "17 files named as masks" in capfd.readouterr().out


def test_a_split_is_decoded_with_every_pixel_ignored(root):
    data = TaskData.from_config(tiny_recipe(**on(root)).data)
    dataset = data.dataset("train")
    assert isinstance(dataset, CaseDataset)
    assert dataset[0]["label"].unique().tolist() == [-100]
    assert data.num_classes == 2


def test_a_method_that_needs_labels_is_refused_before_anything_is_written(root, tmp_path, capfd):
    command = ["train", str(write_recipe(tmp_path, **on(root))), "-o", str(tmp_path / "out")]
    before = snapshot(tmp_path)
    assert run(command) == 2
    assert "images without labels" in the_line(*capfd.readouterr())
    assert snapshot(tmp_path) == before


def test_a_study_refuses_it_before_its_first_run(root, tmp_path):
    runs = [
        PlannedRun("a", 0, tiny_recipe(), tmp_path / "a"),
        PlannedRun("b", 0, tiny_recipe(**on(root)), tmp_path / "b"),
    ]
    with pytest.raises(ConfigError, match="pseudo_label_transfer"):
        run_study(runs, tmp_path / "study")
    assert not (tmp_path / "study").exists()


class NeedsNone(Supervised):
    needs_labels = False


def test_a_method_that_needs_none_is_not_refused(root):
    data = TaskData.from_config(tiny_recipe(**on(root)).data)
    check_labels(NeedsNone(), data.source)
    with pytest.raises(ConfigError, match="learns from labels"):
        check_labels(Supervised(), data.source)
    labelled = TaskData.from_config(tiny_recipe().data)
    check_labels(Supervised(), labelled.source)


def test_supervision_is_refused(root):
    section = {"full_groups": 2, "full_per_batch": 1}
    recipe = tiny_recipe(**on(root))
    config = recipe.data.model_copy(
        update={"supervision": tiny_recipe(data={"supervision": section}).data.supervision}
    )
    with pytest.raises(ConfigError, match=r"data\.source has no labels"):
        TaskData.from_config(config)


def test_a_teacher_is_neither_scored_nor_calibrated(root, teacher_run):
    recipe = tiny_recipe(**taught(root, teacher_run))
    data = TaskData.from_config(recipe.data)
    teacher, said = assemble(tiny_recipe(**taught_by(teacher_run))).teacher, []
    assert check_teacher(recipe, data, teacher, say=said.append) is None
    assert said == ["teacher run: not scored, because no labels of these images are read"]
    assert calibrate(recipe, data, None) is None
    with pytest.raises(TeacherError, match=r"teacher\.floor: no labels of these images"):
        check_teacher(tiny_recipe(**taught(root, teacher_run, floor=0.1)), data, None)


def weighed(root, teacher_run, *members, weights="validation"):
    """The weights (M,) of an ensemble for unlabelled images."""
    given = {"members": [{"path": str(path)} for path in members], "weights": weights}
    labelled = tiny_recipe(method={"name": "distillation"}, teacher=given)
    teacher = assemble(labelled).teacher
    weigh(labelled, TaskData.from_config(tiny_recipe(**on(root)).data), teacher)
    return teacher.weights[:, 1].tolist()


def test_an_ensemble_weighs_what_its_runs_scored_on_their_selection_splits(root, good_teacher_run, tmp_path):
    other = RunFolder(shutil.copytree(good_teacher_run.root, tmp_path / "other"))
    rows = history(good_teacher_run)
    best = good_teacher_run.read_state()["best_epoch"]
    score = float(rows[best]["selection_dice"])
    write_history(other.history, [{**row, "selection_dice": 3 * score} for row in rows_of_numbers(rows)])
    assert weighed(root, good_teacher_run, good_teacher_run.root, other.root) == pytest.approx(
        [0.25, 0.75], rel=1e-4
    )
    assert weighed(root, good_teacher_run, good_teacher_run.root, other.root, weights="best") == [0.0, 1.0]


def rows_of_numbers(rows):
    return [{name: float(value) for name, value in row.items() if value} for row in rows]


def test_weights_that_no_run_has_recorded_are_refused(root, teacher_run):
    with pytest.raises(TeacherError, match=r"validation_per_class needs labels, .* give validation or best"):
        weighed(root, teacher_run, teacher_run.root, weights="validation_per_class")
    with pytest.raises(TeacherError, match=r"student\.safetensors is no run with a score on its own"):
        weighed(root, teacher_run, teacher_run.root, teacher_run.weights)


def test_annotate_writes_a_store_of_them(root, teacher_run, tmp_path, capfd):
    recipe = write_recipe(tmp_path, **taught(root, teacher_run))
    command = ["annotate", str(recipe), "-o", str(tmp_path / "store")]
    assert run([*command, "--split", "train", "--split", "selection"]) == 0
    assert f"teacher store: {tmp_path / 'store'}" in capfd.readouterr().out
