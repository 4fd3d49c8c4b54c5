"""Test sets beside the run's own test split: scored, recorded, compared and shown, each by its name."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml

from meddistill.cli import run
from meddistill.config.load import check_recipe, merge
from meddistill.errors import ConfigError, DataError, RunError
from meddistill.evaluation import ScoreTable
from meddistill.report import write_report
from meddistill.training.assembly import student_spec
from meddistill.training.data import TaskData
from meddistill.training.evaluate import evaluate
from meddistill.training.fit import fit
from meddistill.training.further_tests import find_test, find_tests
from meddistill.training.run_folder import RunFolder
from meddistill.training.study import _complete, plan_study, run_study, shared_sets
from meddistill.training.tables import compare_folders, write_study
from tests.data.builders import busi_tree, write_json
from tests.mistakes import the_line
from tests.recipes import tiny, tiny_recipe, write_recipe
from tests.report.markup import check_accessible_and_alone

NEAR = {"source": {"kind": "phantom", "cases": 6, "seed": 9}}


def folder_set(root, **more):
    return {"source": {"kind": "folder", "root": str(root)}, **more}


def without_test(**changes):
    """The mapping of a recipe whose own data have no test split."""
    mapping = tiny(**changes)
    mapping["data"]["splits"] = {"fractions": {"train": 0.8, "selection": 0.2}}
    return mapping


def in_order(folder, mapping):
    """A recipe file whose keys keep their order."""
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(mapping, sort_keys=False))
    return file


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A labelled folder with a list of four of its cases."""
    root = busi_tree(tmp_path_factory.mktemp("far") / "data", size=(40, 36))
    names = [
        "benign/benign (1).png",
        "malignant/malignant (1)",
        "malignant/malignant (2)",
        "normal/normal (1)",
    ]
    write_json(root / "list.json", names)
    return root


@pytest.fixture(scope="module")
def recipe_file(root, tmp_path_factory):
    tests = {"near": NEAR, "far": folder_set(root, splits={"files": {"test": "list.json"}})}
    return in_order(tmp_path_factory.mktemp("recipe"), tiny(tests=tests, training={"epochs": 1}))


@pytest.fixture(scope="module")
def scored(recipe_file):
    """A run with a test split and two further test sets, trained by the command line."""
    folder = recipe_file.parent / "run"
    assert run(["train", str(recipe_file), "-o", str(folder)]) == 0
    return RunFolder(folder)


@pytest.fixture
def copied(scored, tmp_path):
    shutil.copytree(scored.root, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_every_set_is_scored_under_its_name(scored):
    sizes = {"test": 4, "near": 6, "far": 4}
    assert {name: len(cases) for name, cases in scored.scored_cases().items()} == sizes
    for name, size in sizes.items():
        table = ScoreTable.read_csv(scored.scores(name))
        assert sorted(set(table["case"].tolist())) == sorted(scored.scored_cases()[name])
        assert json.loads(scored.summary(name).read_text())["counts"]["cases"] == size
        assert scored.gallery(name).exists()
    assert set(ScoreTable.read_csv(scored.scores("far"))["pixels"].tolist()) == {32 * 32}


def test_the_environment_says_where_each_set_came_from(scored):
    known = json.loads(scored.environment.read_text())
    assert known["scored"] == ["test", "near", "far"]
    assert known["tests"]["near"]["note"] == "all cases: test 6"
    assert known["tests"]["far"]["note"].startswith("lists (test by list.json)")
    assert "malignant/malignant (2)" in known["tests"]["far"]["cases"]


def test_a_set_is_scored_once_and_again_when_asked(copied, recipe_file, capfd):
    before = copied.scores("far").read_bytes()
    copied.scores("far").write_text("kept")
    assert run(["evaluate", str(copied.root), "--split", "far"]) == 0
    assert copied.scores("far").read_text() == "kept"
    assert run(["evaluate", str(copied.root), "--split", "far", "--again"]) == 0
    assert copied.scores("far").read_bytes() == before
    assert "far counts: cases 4" in capfd.readouterr().out


def test_a_further_set_needs_no_training_data_to_be_scored(copied, tmp_path):
    """Its own data may have stayed in another hospital."""
    recipe = yaml.safe_load(copied.config.read_text())
    recipe["data"]["source"] = {"kind": "folder", "root": str(tmp_path / "elsewhere")}
    copied.config.write_text(yaml.safe_dump(recipe))
    assert evaluate(copied.root, split="far", again=True)["counts"]["cases"] == 4


def test_own_splits_can_still_be_scored(copied):
    assert evaluate(copied.root, split="selection")["counts"]["cases"] == 4
    with pytest.raises(RunError, match="unknown split 'fra'; did you mean 'far'"):
        evaluate(copied.root, split="fra")


def test_a_set_that_has_changed_is_refused(copied, root, tmp_path):
    moved = shutil.copytree(root, tmp_path / "moved")
    write_json(moved / "list.json", ["benign/benign (1)"])
    recipe = yaml.safe_load(copied.config.read_text())
    recipe["tests"]["far"]["source"]["root"] = str(moved)
    copied.config.write_text(yaml.safe_dump(recipe))
    with pytest.raises(RunError, match=r"the test set far has changed .* \(3 cases, first malignant"):
        evaluate(copied.root, split="far", again=True)


def test_the_page_of_a_run_shows_every_set(scored, copied):
    page = check_accessible_and_alone(scored.report.read_text(encoding="utf-8"))
    sections = [section.attributes["id"] for section in page.all("section")]
    assert sections == [
        "key", "training", "reliability", "gallery", "table", "set-near", "set-far", "config", "environment",
    ]  # fmt: skip
    captions = [caption.text for caption in page.all("caption")]
    assert "Test split: means over cases" in captions
    assert "Test set near: means over cases" in captions
    assert len(page.all("tr")) > 4 + 6 + 4
    evaluate(copied.root, split="selection")
    page = check_accessible_and_alone(write_report(copied).read_text(encoding="utf-8"))
    assert any(caption.text == "Selection split: means over cases" for caption in page.all("caption"))


def test_the_page_says_which_set_was_not_scored(copied):
    copied.summary("far").unlink()
    page = check_accessible_and_alone(write_report(copied).read_text(encoding="utf-8"))
    notes = [item.text for item in page.all("li")]
    assert (
        "evaluation/far-summary.json is not in the run folder: the far scores have not been taken." in notes
    )


def test_a_recipe_without_a_test_split_is_complete_with_its_tests(tmp_path, root, capfd):
    mapping = without_test(tests={"far": folder_set(root)}, training={"epochs": 1})
    assert run(["train", str(in_order(tmp_path, mapping)), "-o", str(tmp_path / "run")]) == 0
    out = capfd.readouterr().out
    assert "far counts: cases 9" in out
    assert "nothing was scored" not in out
    source = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    page = check_accessible_and_alone(source)
    assert "far cases" in page.all("p", **{"class": "verdict"})[0].text
    assert any(caption.text == "Test set far: means over cases" for caption in page.all("caption"))
    assert "is not in the run folder" not in source


def test_without_any_set_nothing_is_scored(tmp_path, capfd):
    file = in_order(tmp_path, without_test(training={"epochs": 1}))
    assert run(["train", str(file), "-o", str(tmp_path / "run")]) == 0
    assert "no test split and no tests: nothing was scored" in capfd.readouterr().out


# Studies


def trained_study(folder, mapping):
    """Every run of a study, trained and scored in this process."""
    recipe, runs = plan_study(str(in_order(folder, mapping)), folder / "out")
    for planned in runs:
        done = fit(planned.recipe, planned.folder)
        assert not _complete(planned)
        for name in done.scored_cases():
            evaluate(done.root, split=name)
        assert _complete(planned)
    return recipe, runs


@pytest.fixture(scope="module")
def study(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("study")
    rows = {"iid": {}, "slow": {"training": {"lr": 0.0001}}}
    tests = {"near": NEAR, "far": folder_set(root)}
    mapping = tiny(tests=tests, training={"epochs": 1}, study={"rows": rows, "baseline": "iid"})
    recipe, runs = trained_study(folder, mapping)
    return folder / "out", runs, write_study(recipe, runs, folder / "out")


def test_a_study_has_a_table_for_every_set(study):
    out, _, (comparisons, page) = study
    assert list(comparisons) == ["test", "near", "far"]
    for name, comparison in comparisons.items():
        suffix = "" if name == "test" else f"-{name}"
        assert (out / f"table{suffix}.md").read_text() == comparison.to_markdown()
        assert (out / f"table{suffix}.csv").read_text() == comparison.to_csv()
        stored = json.loads((out / f"comparison{suffix}.json").read_text())
        assert stored["baseline"] == "iid"
        assert {row["row"] for row in stored["rows"]} == {"iid", "slow"}
    assert [row.cases for row in comparisons["near"].rows if row.metric == "ece"] == [6, 6]
    shown = check_accessible_and_alone(page.read_text(encoding="utf-8"))
    assert [section.attributes["id"] for section in shown.all("section")][:3] == [
        "scores",
        "pictures",
        "tests",
    ]
    assert {"set-near", "set-far"} <= {section.attributes["id"] for section in shown.all("section")}
    assert shown.all("table", id="score-table-far")


def test_runs_are_compared_on_the_set_that_is_asked_for(study, tmp_path, capfd):
    _, runs, (comparisons, _) = study
    folders = [planned.folder for planned in runs]
    assert compare_folders(folders) == comparisons["test"]
    assert compare_folders(folders, split="far") == comparisons["far"]
    command = ["compare", *map(str, folders), "--split", "near", "-o", str(tmp_path / "near.csv")]
    assert run(command) == 0
    assert (tmp_path / "near.csv").read_text() == comparisons["near"].to_csv()
    capfd.readouterr()
    assert run(["compare", *map(str, folders), "--split", "nera"]) == 2
    assert "did you mean 'near'" in the_line(*capfd.readouterr())
    assert run(["compare", *map(str, folders), "--split", "selection"]) == 2
    assert "has no scores on selection; get them by `meddistill evaluate" in the_line(*capfd.readouterr())


def test_rows_without_a_common_test_split_are_compared_on_the_tests(tmp_path, root):
    rows = {"own": {"data": {"splits": {"seed": 3}}}, "other": {}}
    mapping = tiny(
        tests={"far": folder_set(root)}, training={"epochs": 1}, study={"rows": rows, "baseline": "own"}
    )
    recipe, runs = trained_study(tmp_path, mapping)
    comparisons, _ = write_study(recipe, runs, tmp_path / "out")
    assert list(comparisons) == ["far"]
    assert (tmp_path / "out" / "table.md").read_text() == comparisons["far"].to_markdown()
    assert not (tmp_path / "out" / "table-far.md").exists()
    assert compare_folders([planned.folder for planned in runs]) == comparisons["far"]


def test_a_study_with_nothing_in_common_is_refused_before_it_starts(tmp_path):
    rows = {"own": {"data": {"splits": {"seed": 3}}}, "other": {}}
    file = write_recipe(tmp_path, study={"rows": rows, "baseline": "own"})
    _, runs = plan_study(str(file), tmp_path / "out")
    with pytest.raises(ConfigError, match="scored on nothing in common"):
        run_study(runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_shared_sets_have_the_same_cases_in_any_order():
    one, other = {"test": ["1", "2"], "far": ["3"]}, {"far": ["3"], "test": ["2", "1"], "near": []}
    assert shared_sets([one, other]) == ["test", "far"]
    assert shared_sets([one]) == ["test", "far"]
    assert shared_sets([one, {}]) == []


# What a set must be


def found(recipe, name="far"):
    data = TaskData.from_config(recipe.data)
    return find_tests(recipe, student_spec(recipe, data), data)[name]


def test_a_set_is_read_at_the_size_of_the_runs_own_data(root):
    data = found(tiny_recipe(tests={"far": folder_set(root)}, data={"size": [48, 32]}))
    assert data.dataset("test")[0]["image"].shape == (1, 1, 48, 32)
    assert data.split.cases["test"] == data.source.cases


@pytest.mark.parametrize(
    ("far", "said"),
    [
        ({"channels": 3}, r"tests\.far\.source has images of 3 channels, but the student takes 1"),
        (
            {"root": "nowhere"},
            r"tests\.far\.source\.root: nowhere does not exist; give yours by --tests\.far",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused(root, far, said):
    recipe = tiny_recipe(tests={"far": {"source": {"kind": "folder", "root": str(root), **far}}})
    with pytest.raises((ConfigError, DataError), match=said):
        found(recipe)


def test_other_classes_are_refused(tmp_path, root):
    (tmp_path / "list.csv").write_text(f"image\n{root / 'benign' / 'benign (1).png'}\n")
    source = {"kind": "manifest", "file": str(tmp_path / "list.csv"), "class_names": ["background", "tumour"]}
    with pytest.raises(
        ConfigError, match=r"classes background, tumour, but the student tells apart background, lesion"
    ):
        found(tiny_recipe(tests={"far": {"source": source}}))


def test_a_set_whose_test_split_is_empty_is_refused(root):
    far = folder_set(root, splits={"files": {"train": "list.json"}})
    with pytest.raises(DataError, match=r"tests\.far: the test split has no cases"):
        found(tiny_recipe(tests={"far": far}))


def test_a_damaged_file_is_found_before_training(tmp_path, root, capfd):
    shutil.copytree(root, tmp_path / "far")
    (tmp_path / "far/benign/benign (2).png").write_bytes(b"")
    recipe = write_recipe(tmp_path, tests={"far": folder_set(tmp_path / "far")})
    assert run(["train", str(recipe), "-o", str(tmp_path / "out")]) == 2
    assert "benign (2).png: the file is empty" in the_line(*capfd.readouterr())
    assert not (tmp_path / "out").exists()


def test_cases_and_groups_that_are_learnt_from_are_refused(root):
    own = {"source": {"kind": "folder", "root": str(root)}}
    splits = {"fractions": {"train": 0.5, "selection": 0.2, "calibration": 0.1, "test": 0.2}}
    mapping = tiny(data={**own, "splits": splits}, tests={"far": folder_set(root)})
    with pytest.raises(DataError, match=r"tests\.far: . of its cases, or others of their groups, are among"):
        found(check_recipe(mapping))
    same = merge(mapping, {"tests": {"far": {"splits": splits}}})
    assert len(found(check_recipe(same)).split.cases["test"]) > 0


def test_images_that_are_learnt_from_without_their_labels_may_be_scored(root):
    """A transferal set with labels for scoring alone."""
    recipe = tiny_recipe(
        data={"source": {"kind": "images", "root": str(root), "class_names": ["background", "lesion"]}},
        tests={"far": folder_set(root)},
    )
    assert len(found(recipe).split.cases["test"]) == 9


def test_volumes_are_scored_whole(tmp_path):
    model = {"name": "monai/unet", "options": {"channels": [2, 4], "strides": [2], "num_res_units": 0}}
    recipe = tiny_recipe(
        model=model, data={"size": [32, 32, 32]}, tests={"near": NEAR}, training={"epochs": 1}
    )
    done = fit(recipe, tmp_path / "run")
    evaluate(done.root, split="near")
    table = ScoreTable.read_csv(done.scores("near"))
    assert set(table["unit"].tolist()) == {"voxels"}
    assert np.isfinite(table["ece"]).all()
    assert len(set(table["case"].tolist())) == 6


def test_find_test_takes_the_students_word(root):
    """No own data are needed."""
    recipe = tiny_recipe(tests={"far": folder_set(root)})
    spec = student_spec(recipe, TaskData.from_config(recipe.data))
    assert find_test(recipe, "far", spec).num_classes == 2
