from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from meddistill.config import recipe_to_yaml
from meddistill.errors import ConfigError, RunError
from meddistill.files import write_json, write_text
from meddistill.training.run_folder import RunFolder
from meddistill.training.study import plan_study, run_study
from meddistill.training.tables import compare_folders
from tests.evaluation.tables import table
from tests.mistakes import made_run
from tests.recipes import tiny, tiny_recipe


def study_file(folder: Path, rows, **study) -> str:
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(tiny() | {"study": {"rows": rows, "baseline": next(iter(rows)), **study}}))
    return str(file)


def test_every_row_meets_every_seed_and_teachers_come_first(tmp_path):
    rows = {"kd": {"teacher": {"row": "iid"}, "method": {"name": "distillation"}}, "iid": {}}
    _, runs = plan_study(study_file(tmp_path, rows, seeds=[3, 5]), tmp_path / "out")
    assert [run.name for run in runs] == ["iid-s3", "kd-s3", "iid-s5", "kd-s5"]
    student = runs[1]
    assert student.needs == ("iid-s3",)
    assert student.recipe.teacher.path == str(tmp_path / "out" / "runs" / "iid-s3")
    assert student.recipe.seed == 3
    assert student.recipe.study is None


def test_members_of_an_ensemble_come_first(tmp_path):
    members = [{"row": "b", "class_map": [0, 1]}, {"row": "a"}, {"path": "elsewhere"}, {"row": "b"}]
    rows = {
        "kd": {"teacher": {"members": members, "weights": "validation"}, "method": {"name": "distillation"}},
        "a": {},
        "b": {"teacher": {"row": "a"}, "method": {"name": "distillation"}},
    }
    _, runs = plan_study(study_file(tmp_path, rows, seeds=[4]), tmp_path / "out")
    assert [run.name for run in runs] == ["a-s4", "b-s4", "kd-s4"]
    student = runs[-1]
    assert student.needs == ("b-s4", "a-s4")
    folder = tmp_path / "out" / "runs"
    paths = [member.path for member in student.recipe.teacher.members]
    assert paths == [str(folder / "b-s4"), str(folder / "a-s4"), "elsewhere", str(folder / "b-s4")]
    assert student.recipe.teacher.members[0].class_map == [0, 1]
    assert student.recipe.teacher.members[0].row is None


def test_the_row_to_fine_tune_comes_first(tmp_path):
    rows = {
        "head": {"fine_tune": {"row": "transfer", "layers": "head"}},
        "both": {
            "fine_tune": {"row": "transfer"},
            "teacher": {"row": "a"},
            "method": {"name": "distillation"},
        },
        "a": {},
        "transfer": {"teacher": {"row": "a"}, "method": {"name": "distillation"}},
    }
    _, runs = plan_study(study_file(tmp_path, rows, seeds=[4, 6]), tmp_path / "out")
    assert [run.name for run in runs[:4]] == ["a-s4", "transfer-s4", "both-s4", "head-s4"]
    both, head = runs[-2:]
    assert head.needs == ("transfer-s6",)
    assert head.recipe.fine_tune.path == str(tmp_path / "out" / "runs" / "transfer-s6")
    assert head.recipe.fine_tune.row is None
    assert head.recipe.fine_tune.layers == "head"
    assert both.needs == ("a-s6", "transfer-s6")


def test_a_row_without_a_start_beside_rows_with_one(tmp_path):
    """The three controls: random weights, frozen features, everything."""
    file = study_file(tmp_path, {"start": {}, "scratch": {}, "frozen": {}, "all": {}})
    recipe = yaml.safe_load(Path(file).read_text())
    recipe["fine_tune"] = {"row": "start"}
    recipe["study"]["rows"] = {
        "start": {"fine_tune": None},
        "scratch": {"fine_tune": None},
        "frozen": {"fine_tune": {"layers": "head"}},
        "all": {},
    }
    Path(file).write_text(yaml.safe_dump(recipe))
    _, runs = plan_study(file, tmp_path / "out")
    assert {run.row: run.needs for run in runs} == {
        "start": (),
        "scratch": (),
        "frozen": ("start-s0",),
        "all": ("start-s0",),
    }
    assert runs[0].row == "start"


def test_overrides_reach_every_row(tmp_path):
    rows = {"a": {"training": {"epochs": 9}}, "b": {}}
    _, runs = plan_study(study_file(tmp_path, rows), tmp_path / "out", {"training": {"epochs": 1}})
    assert [run.recipe.training.epochs for run in runs] == [1, 1]


def test_overrides_of_the_study_itself(tmp_path):
    rows = {"a": {}, "b": {}, "c": {}}
    overrides = {"study": {"seeds": [3], "rows": {"b": None}}}
    recipe, runs = plan_study(study_file(tmp_path, rows), tmp_path / "out", overrides)
    assert [run.name for run in runs] == ["a-s3", "c-s3"]
    assert list(recipe.study.rows) == ["a", "c"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"a": {"teacher": {"row": "b"}}, "b": {"teacher": {"row": "a"}}}, "in a circle: a -> b -> a"),
        ({"iid": {}, "kd": {"teacher": {"row": "idd"}}}, "unknown row 'idd'; did you mean 'iid'"),
        (
            {"iid": {}, "kd": {"teacher": {"members": [{"row": "idd"}]}}},
            "unknown row 'idd'; did you mean 'iid'",
        ),
        ({"a": {"teacher": {"members": [{"row": "a"}]}}}, "in a circle: a -> a"),
        ({"a": {"teacher": {"members": 3}}}, r"teacher\.members: input should be a valid list"),
        ({"a": {"teacher": "b"}}, "teacher: input should be a valid"),
        ({"a": {"fine_tune": "b"}}, "fine_tune: input should be a valid"),
        (
            {"iid": {}, "on": {"fine_tune": {"row": "idd"}}},
            r"fine_tune\.row: unknown row 'idd'; did you mean",
        ),
        ({"a": {"fine_tune": {"row": "b"}}, "b": {"teacher": {"row": "a"}}}, "in a circle: a -> b -> a"),
        (
            {"a": {"model": {"options": {"width": 4}}}, "b": {"fine_tune": {"row": "a"}}},
            r"row 'b' starts from row 'a', which is another network .*: options \{'width': 4\}, not",
        ),
        ({"iid": {"training": {"epoch": 1}}}, "did you mean 'epochs'"),
    ],
)
def test_impossible_rows_are_refused_before_anything_runs(tmp_path, rows, said):
    with pytest.raises(ConfigError, match=said):
        plan_study(study_file(tmp_path, rows), tmp_path / "out")


def test_a_recipe_without_rows_is_no_study(tmp_path):
    file = tmp_path / "plain.yaml"
    file.write_text(yaml.safe_dump(tiny()))
    with pytest.raises(ConfigError, match="has no study section"):
        plan_study(str(file), tmp_path / "out")


def test_a_run_of_another_recipe_is_not_taken_for_one_of_the_study(tmp_path):
    """A row that was changed after its runs were finished would keep their scores."""
    rows = {"iid": {}, "wide": {"model": {"options": {"width": 4}}}}
    _, runs = plan_study(study_file(tmp_path, rows), tmp_path / "out")
    for run in runs:
        scored_run(run.folder)
        write_text(RunFolder(run.folder).config, recipe_to_yaml(run.recipe))
    write_json(runs[0].folder / "evaluation" / "test-summary.json", {})
    write_json(runs[1].folder / "evaluation" / "test-summary.json", {})
    run_study(runs, tmp_path / "out")
    _, changed = plan_study(
        study_file(tmp_path, {**rows, "wide": {"training": {"lr": 0.1}}}), tmp_path / "out"
    )
    with pytest.raises(
        RunError, match=r"wide-s0 was started with another recipe \(different: model, training\)"
    ):
        run_study(changed, tmp_path / "out")


def scored_run(folder, **changes):
    """A run folder with scores, as comparing reads it."""
    made_run(folder, dice=(0.1, 0.2))
    write_text(RunFolder(folder).config, recipe_to_yaml(tiny_recipe(**changes)))
    return folder


def test_seeds_of_a_row_may_differ_in_the_folders_of_their_teachers_alone(tmp_path):
    """Of a lone teacher, of the members of an ensemble, and of the start of fine-tuning."""

    def ensemble(seed, combine="probabilities"):
        members = [{"path": f"a-s{seed}"}, {"path": f"b-s{seed}"}]
        return {"teacher": {"members": members, "combine": combine}, "method": {"name": "distillation"}}

    def lone(seed):
        return {"teacher": {"path": f"a-s{seed}"}, "method": {"name": "distillation"}}

    def tuned(seed, layers="head"):
        return {"fine_tune": {"path": f"a-s{seed}", "layers": layers}}

    folders = [
        scored_run(tmp_path / f"{row}-s{seed}", seed=seed, **changes(seed))
        for row, changes in (("kd", lone), ("joined", ensemble), ("tuned", tuned))
        for seed in (0, 1)
    ]
    compared = compare_folders(folders)
    assert {row.row: row.seeds for row in compared.rows} == {"kd": 2, "joined": 2, "tuned": 2}
    scored_run(tmp_path / "joined-s2", seed=2, **ensemble(2, combine="logits"))
    with pytest.raises(RunError, match="differ in teacher"):
        compare_folders([*folders, tmp_path / "joined-s2"])
    scored_run(tmp_path / "tuned-s2", seed=2, **tuned(2, layers="all"))
    with pytest.raises(RunError, match="differ in fine_tune"):
        compare_folders([*folders, tmp_path / "tuned-s2"])


def test_another_branch_of_a_student_is_a_row_of_its_own(tmp_path):
    run = scored_run(tmp_path / "mixed-s0")
    upper = RunFolder(run).scores(branch="upper")
    table(dice=(0.4, 0.5)).write_csv(upper)
    compared = compare_folders([run, f"{run}:upper"], metrics=["dice"])
    assert [(row.row, round(row.mean, 2)) for row in compared.rows] == [
        ("mixed", 0.15),
        ("mixed:upper", 0.45),
    ]
    assert round(compared.tests[0].mean_difference, 2) == 0.3
    with pytest.raises(RunError, match="unknown branch 'uper'; did you mean 'upper'"):
        compare_folders([run, f"{run}:uper"])
    upper.unlink()
    with pytest.raises(RunError, match="has one branch only"):
        compare_folders([run, f"{run}:upper"])
