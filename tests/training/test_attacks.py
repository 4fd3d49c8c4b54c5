"""Attacks in recipes: sets of attacked images that are scored, compared, checked and shown."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from meddistill.cli import run
from meddistill.config.load import check_recipe
from meddistill.errors import ConfigError
from meddistill.evaluation import AnswerTable, ScoreTable
from meddistill.evaluation.attack_check import check_attack
from meddistill.evaluation.attacks import fgsm
from meddistill.models import load_model
from meddistill.report import write_report
from meddistill.training.assembly import student_spec
from meddistill.training.attacks import check_attacked, check_same_attacks
from meddistill.training.data import TaskData
from meddistill.training.evaluate import evaluate, read_recipe
from meddistill.training.fit import fit
from meddistill.training.further_tests import find_tests
from meddistill.training.run_folder import RunFolder, read_json
from meddistill.training.study import plan_study, run_study
from meddistill.training.tables import compare_folders, write_study
from tests import answer_recipes
from tests.mistakes import the_line
from tests.recipes import tiny, tiny_recipe, write_recipe
from tests.report.markup import check_accessible_and_alone

NEAR = {"near": {"source": {"kind": "phantom", "cases": 6, "seed": 9}}}
ATTACKS = {
    "fgsm": {"kind": "fgsm", "eps": [1, 4]},
    "pgd": {"kind": "pgd", "eps": [2, 8], "steps": 3},
    "weak": {"kind": "fgsm", "eps": 0.5, "of": "near"},
}
SETS = ["fgsm-1", "fgsm-4", "pgd-2", "pgd-8", "weak"]


def trained(folder, mapping):
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(mapping, sort_keys=False))
    assert run(["train", str(file), "-o", str(folder / "run")]) == 0
    return RunFolder(folder / "run")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A run that is scored on two sets and under three attacks, by the command line."""
    return trained(
        tmp_path_factory.mktemp("attacked"), tiny(attacks=ATTACKS, tests=NEAR, training={"epochs": 2})
    )


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A student that has learnt something, attacked by its recipe and not scored yet."""
    recipe = tiny_recipe(
        model={"options": {"width": 4}},
        training={"epochs": 40, "lr": 0.01, "precision": "32"},
        attacks={"fgsm": {"kind": "fgsm", "eps": [1, 2, 4, 8]}},
    )
    return fit(recipe, tmp_path_factory.mktemp("learnt") / "run")


@pytest.fixture
def attacked(learnt, tmp_path):
    return RunFolder(shutil.copytree(learnt.root, tmp_path / "run"))


def test_every_attacked_set_is_scored_after_training(scored):
    assert list(scored.scored_cases()) == ["test", "near", *SETS]
    assert read_json(scored.environment)["attacks"] == dict.fromkeys(SETS[:-1], "test") | {"weak": "near"}
    for name in SETS:
        cases = scored.scored_cases()["near" if name == "weak" else "test"]
        assert scored.scored_cases()[name] == cases
        assert ScoreTable.read_csv(scored.scores(name))["case"].tolist() == cases
        assert read_json(scored.summary(name))["counts"]["cases"] == len(cases)


def test_an_attack_lowers_the_scores_of_a_student_that_has_learnt(attacked):
    sets = ["test", *(f"fgsm-{eps}" for eps in (1, 2, 4, 8))]
    dice = [evaluate(attacked.root, split=name)["metrics"]["dice"]["mean"] for name in sets]
    assert dice == sorted(dice, reverse=True)
    assert dice[-1] < dice[0] - 0.2


def test_what_is_found_is_what_the_check_of_attacks_finds(attacked):
    """The loss and accuracy that are read off the stored scores are those of a run of their own."""
    for name in ("fgsm-4", "fgsm-1"):
        evaluate(attacked.root, split=name)
        assert read_json(attacked.attacks) == {}
    evaluate(attacked.root)
    found = read_json(attacked.attacks)["fgsm"]
    assert found["sets"] == ["test", "fgsm-1", "fgsm-4"]
    assert (found["kind"], found["of"]) == ("fgsm", "test")
    _, student = load_model(attacked.weights)
    loader = TaskData.from_recipe(read_recipe(attacked)).loader("test", batch_size=2)
    expected = check_attack(student, loader, attack=fgsm, eps=(1 / 255, 4 / 255))
    for key in ("eps", "accuracy", "loss"):
        assert found[key] == pytest.approx(getattr(expected, key), rel=1e-4)
    assert found["problems"] == list(expected.problems) == []


def test_an_attack_that_does_not_work_is_a_warning_on_the_page(attacked):
    for name in ("test", "fgsm-8"):
        evaluate(attacked.root, split=name)
    spoilt = read_json(attacked.summary("fgsm-8"))
    spoilt["dataset"]["nll"] = 0.0
    attacked.summary("fgsm-8").write_text(json.dumps(spoilt))
    evaluate(attacked.root)
    [problem] = read_json(attacked.attacks)["fgsm"]["problems"]
    assert problem.startswith("eps 8/255: the loss is 0, not above the")
    page = check_accessible_and_alone(write_report(attacked).read_text(encoding="utf-8"))
    assert f"fgsm: {problem}." in [note.text for note in page.all("p", **{"class": "notice"})]


def test_the_page_has_one_section_for_all_attacks(scored):
    page = check_accessible_and_alone(scored.report.read_text(encoding="utf-8"))
    sections = [section.attributes["id"] for section in page.all("section")]
    assert sections == [
        "key", "training", "reliability", "gallery", "table", "attacks", "set-near", "config", "environment",
    ]  # fmt: skip
    captions = [caption.text for caption in page.all("caption")]
    assert any(caption.startswith("Attack pgd (pgd) on the test split") for caption in captions)
    assert any(caption.startswith("Attack weak (fgsm) on the test set near") for caption in captions)
    assert "Dice under attack" in [strong.text for strong in page.all("strong")]
    assert "is not in the run folder" not in scored.report.read_text(encoding="utf-8")


def test_a_set_is_scored_again_when_asked(scored, capfd):
    before = scored.scores("pgd-2").read_bytes()
    scored.scores("pgd-2").write_text("lost")
    assert run(["evaluate", str(scored.root), "--split", "pgd-2"]) == 0
    assert scored.scores("pgd-2").read_text() == "lost"
    assert run(["evaluate", str(scored.root), "--split", "pgd-2", "--again"]) == 0
    assert scored.scores("pgd-2").read_bytes() == before
    assert "pgd-2 counts: cases 4" in capfd.readouterr().out
    assert run(["evaluate", str(scored.root), "--split", "pgd-3"]) == 2
    assert "unknown split 'pgd-3'" in the_line(*capfd.readouterr())


@pytest.mark.parametrize("make", [answer_recipes.classes, answer_recipes.labels])
def test_answers_about_whole_images_are_attacked_too(make, tmp_path):
    attacks = {"pgd": {"kind": "pgd", "eps": [2, 16], "steps": 3}}
    folder = trained(tmp_path, make(tmp_path, attacks=attacks, training={"precision": "32"}))
    tables = [AnswerTable.read_csv(folder.scores(name)) for name in ("test", "pgd-2", "pgd-16")]
    assert all(table.cases.tolist() == tables[0].cases.tolist() for table in tables)
    found = read_json(folder.attacks)["pgd"]
    assert found["loss"] == sorted(found["loss"])
    assert found["loss"][0] < found["loss"][-1]
    assert found["accuracy"][0] == pytest.approx(
        read_json(folder.summary())["metrics"]["accuracy"]["mean"], abs=1e-6
    )
    page = check_accessible_and_alone(folder.report.read_text(encoding="utf-8"))
    assert any(caption.text.startswith("Attack pgd") for caption in page.all("caption"))


def test_runs_are_compared_under_an_attack(scored, tmp_path, capfd):
    other = RunFolder(shutil.copytree(scored.root, tmp_path / "other"))
    comparison = compare_folders([scored.root, other.root], split="pgd-8")
    assert [test.mean_difference for test in comparison.tests if test.metric == "dice"] == [0.0]
    recipe = yaml.safe_load(other.config.read_text())
    recipe["attacks"]["pgd"]["steps"] = 40
    other.config.write_text(yaml.safe_dump(recipe))
    assert run(["compare", str(scored.root), str(other.root), "--split", "pgd-8"]) == 2
    assert "attacked in different ways, but both sets are called pgd-8" in the_line(*capfd.readouterr())
    assert compare_folders([scored.root, other.root], split="fgsm-4").baseline == "run"


def test_a_study_has_a_table_for_every_attacked_set(tmp_path):
    study = {"rows": {"iid": {}, "slow": {"training": {"lr": 0.0001}}}, "baseline": "iid"}
    attacks = {"pgd": {"kind": "pgd", "eps": [2, 8], "steps": 2}}
    file = write_recipe(tmp_path, attacks=attacks, training={"epochs": 1}, study=study)
    recipe, runs = plan_study(str(file), tmp_path / "out")
    for planned in runs:
        for name in fit(planned.recipe, planned.folder).scored_cases():
            evaluate(planned.folder, split=name)
    comparisons, page = write_study(recipe, runs, tmp_path / "out")
    assert list(comparisons) == ["test", "pgd-2", "pgd-8"]
    stored = json.loads((tmp_path / "out" / "comparison-pgd-8.json").read_text())
    assert {row["row"] for row in stored["rows"]} == {"iid", "slow"}
    shown = check_accessible_and_alone(page.read_text(encoding="utf-8"))
    assert shown.all("table", id="score-table-pgd-2")


def test_rows_that_are_attacked_in_different_ways_are_refused_before_a_study_starts(tmp_path):
    rows = {"iid": {}, "hard": {"attacks": {"pgd": {"steps": 40}}}}
    attacks = {"pgd": {"kind": "pgd", "eps": [2]}}
    file = write_recipe(tmp_path, attacks=attacks, study={"rows": rows, "baseline": "iid"})
    _, runs = plan_study(str(file), tmp_path / "out")
    with pytest.raises(ConfigError, match="hard and iid are attacked in different ways"):
        run_study(runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_more_strengths_are_no_other_attack():
    one, more = (tiny_recipe(attacks={"pgd": {"kind": "pgd", "eps": eps}}) for eps in ([2], [2, 4]))
    check_same_attacks([("a", one), ("b", more)])


def refused(recipe):
    data = TaskData.from_config(recipe.data)
    with pytest.raises(ConfigError) as caught:
        check_attacked(recipe, data, find_tests(recipe, student_spec(recipe, data), data))
    return str(caught.value)


def test_images_that_are_not_there_are_refused():
    splits = {"fractions": {"train": 0.8, "selection": 0.2}}
    mapping = tiny(attacks={"pgd": {"kind": "pgd", "eps": 1}}, tests=NEAR)
    mapping["data"]["splits"] = splits
    assert "attacks.pgd: these data have no test split; set attacks.pgd.of to a name" in refused(
        check_recipe(mapping)
    )


def test_volumes_are_refused():
    changes = {"data": {"size": [32, 32, 32]}, "model": {"name": "pcd/unet", "options": {"width": 2}}}
    assert "attacks.pgd: attacks change images, but these data are volumes" in refused(
        tiny_recipe(attacks={"pgd": {"kind": "pgd", "eps": 1}}, **changes)
    )
