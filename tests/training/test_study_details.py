import shutil

import numpy as np
import pytest

from meddistill.evaluation import ScoreTable
from meddistill.training.disputed_maps import disputed_maps
from meddistill.training.evaluate import evaluate, read_recipe
from meddistill.training.run_folder import RunFolder
from meddistill.training.study import PlannedRun
from meddistill.training.study_details import study_details
from meddistill.training.tables import compare_tables
from tests.evaluation.answer_tables import table as answers


@pytest.fixture(scope="module")
def runs(teacher_run, tmp_path_factory):
    """Two rows that share one scored run."""
    place = tmp_path_factory.mktemp("study")
    folders = {row: shutil.copytree(teacher_run.root, place / f"{row}-s0") for row in ("a", "b")}
    for folder in folders.values():
        evaluate(folder)
    recipe = read_recipe(teacher_run)
    return [PlannedRun(row, 0, recipe, folder) for row, folder in folders.items()]


@pytest.fixture(scope="module")
def tables(runs):
    """The scores of the run, and the same with the first labelled case gone wrong."""
    known = ScoreTable.read_csv(RunFolder(runs[0].folder).scores())
    place = int(np.flatnonzero(~np.isnan(known["dice"]))[0])
    dice = known["dice"].copy()
    dice[place] = (dice[place] + 0.5) % 1
    return {"a": [known], "b": [ScoreTable({**known.columns, "dice": dice})]}


def test_the_disputed_case_is_drawn_with_the_prediction_of_every_row(runs, tables):
    found = study_details(runs, compare_tables(tables, baseline="a"), tables, "test")
    assert found.disputes.note == ""
    [view] = found.disputes.views
    case = tables["a"][0]["case"][tables["a"][0]["dice"] != tables["b"][0]["dice"]]
    assert [view.case] == [name for name in case.tolist() if name == view.case]
    assert len(view.panels) == 3
    assert found.ranks == []
    assert {one.kind for one in found.subgroups} <= {"stratum", "size"}
    drawn = disputed_maps(runs, "test", [view.case]).maps[view.case]
    assert drawn.image.shape[1:] == drawn.label.shape == drawn.predictions["a"].shape == (32, 32)
    assert np.array_equal(drawn.predictions["a"], drawn.predictions["b"])


def test_data_that_are_gone_leave_a_note_instead_of_pictures(runs, tables):
    cases = tables["a"][0]["case"][:1].tolist()
    changed = runs[0].recipe.model_copy(
        update={
            "data": runs[0].recipe.data.model_copy(update={"size": [32, 32], "splits": other_splits(runs)})
        }
    )
    moved = [PlannedRun("a", 0, changed, runs[0].folder)]
    found = disputed_maps(moved, "test", cases)
    assert found.maps == {}
    assert found.note.startswith("There are no pictures: ")


def other_splits(runs):
    fractions = {"train": 0.4, "selection": 0.2, "calibration": 0.2, "test": 0.2}
    return runs[0].recipe.data.splits.model_copy(update={"fractions": fractions})


def test_answers_about_whole_images_are_told_in_a_table():
    tables = {"alone": [answers(30)], "kd": [answers(30, skill=3.0, seed=0)], "pcd": [answers(30, skill=0.5)]}
    found = study_details(
        [], compare_tables(tables, baseline="alone", metrics=["auroc", "accuracy", "brier"]), tables, "test"
    )
    assert found.disputes.metric == "brier"
    assert [column.label for column in found.disputes.table.columns] == [
        "Case",
        "Truth",
        "alone",
        "kd",
        "pcd",
        "Spread",
    ]
    assert found.disputes.views == ()
    assert [one.metric for one in found.ranks] == ["accuracy", "brier"]
