"""From data to report for what is not a grey image with one lesion: volumes, and colour-coded classes."""

from __future__ import annotations

import copy
import json

import pytest

from meddistill.config.load import check_recipe
from meddistill.evaluation import ScoreTable
from meddistill.report import write_report
from meddistill.training.evaluate import evaluate
from meddistill.training.fit import fit
from tests.data.builders import endovis_tree
from tests.recipes import PACED, tiny, tiny_recipe


def test_volumes_from_phantom_to_report(tmp_path):
    model = {"name": "monai/unet", "options": {"channels": [2, 4], "strides": [2], "num_res_units": 0}}
    data = {"size": [32, 32, 32], "augment": "flip"}
    teacher = fit(tiny_recipe(model=model, data=data, training={"epochs": 1}), tmp_path / "teacher")
    recipe = tiny_recipe(
        model=model,
        data=data,
        teacher={"path": str(teacher.root)},
        method=PACED,
        training={"epochs": 2, "channels_last": True},
    )
    run = fit(recipe, tmp_path / "student")
    summary = evaluate(run.root)
    assert summary["counts"]["cases"] == 4
    page = write_report(run).read_text(encoding="utf-8")
    assert "monai/unet" in page


def test_several_classes_in_colour_with_unknown_pixels(tmp_path):
    root = endovis_tree(tmp_path / "endovis", sequences=4, frames=3)
    mapping = copy.deepcopy(tiny())
    mapping["data"] |= {
        "source": {"kind": "palette", "root": str(root), "palette": str(root / "labels.json")},
        "splits": {"fractions": {"train": 0.5, "selection": 0.25, "test": 0.25}},
        "size": [16, 16],
    }
    run = fit(check_recipe(mapping), tmp_path / "run")
    evaluate(run.root)
    table = ScoreTable.read_csv(run.scores())
    names = json.loads(run.model.read_text())["class_names"]
    assert sorted(set(table["class"].tolist())) == sorted(names[1:])
    split = json.loads(run.environment.read_text())["split_cases"]
    sequences = {name: {case.split("/")[0] for case in cases} for name, cases in split.items() if cases}
    assert sum(len(found) for found in sequences.values()) == len(set().union(*sequences.values())) == 4


@pytest.mark.parametrize("split", ["selection", "calibration"])
def test_other_splits_can_be_scored_and_the_test_split_is_scored_once(teacher_run, split):
    evaluate(teacher_run.root)
    before = teacher_run.scores("test").stat().st_mtime_ns
    evaluate(teacher_run.root)
    assert teacher_run.scores("test").stat().st_mtime_ns == before
    assert evaluate(teacher_run.root, split=split)["counts"]["cases"] == 4
