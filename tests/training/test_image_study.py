"""A whole study over labels of images: teachers of three architectures, RoS-KD and its peers, one table."""

from __future__ import annotations

import csv
import json

import pytest
import yaml

from meddistill.cli import run
from meddistill.evaluation import AnswerTable
from meddistill.models import load_model
from meddistill.training.run_folder import RunFolder, read_json
from tests import answer_recipes
from tests.report.markup import check_accessible_and_alone
from tests.studies import train_here

TEACHERS = {row: {"model": {"name": f"timm/test_{row}"}} for row in ("resnet", "convnext", "efficientnet")}
MEMBERS = [{"row": row} for row in TEACHERS]
SWA = {"average": {"kind": "swa", "start": 0.5}}
ROWS = {
    **{row: {**network, "training": {"epochs": 1}} for row, network in TEACHERS.items()},
    "alone": {},
    "swa": {"training": SWA},
    "best": {"method": {"name": "distillation"}, "teacher": {"members": MEMBERS, "weights": "best"}},
    "uniform": {"method": {"name": "distillation"}, "teacher": {"members": MEMBERS}},
    "roskd": {"method": {"name": "stochastic"}, "teacher": {"members": MEMBERS}, "training": SWA},
    "smoothed": {"method": {"name": "label_smoothing"}},
    "symmetric": {"method": {"name": "symmetric_cross_entropy"}},
    "co_teaching": {"method": {"name": "co_teaching", "ramp_epochs": 1}},
}
TASKS = {"classes": answer_recipes.classes, "labels": answer_recipes.labels}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=TASKS)
def studied(request, tmp_path_factory):
    """The folder of a finished study by the command line."""
    place = tmp_path_factory.mktemp(request.param)
    model = {"name": "timm/test_resnet", "options": {}}
    recipe = TASKS[request.param](
        place,
        model=model,
        data={"size": [32, 32], "augment": "light"},
        training={"keep": "last"},
        study={"rows": ROWS, "baseline": "alone"},
    )
    (place / "study.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.MonkeyPatch.context() as patch:
        train_here(patch)
        assert run(["study", str(place / "study.yaml"), "-o", str(place / "out")]) == 0
    return place / "out"


def run_of(studied, row):
    return RunFolder(studied / f"runs/{row}-s0")


def test_every_row_is_in_the_table_with_intervals(studied):
    found = {(row["row"], row["metric"]): row for row in csv.DictReader((studied / "table.csv").open())}
    for row in ROWS:
        summary = read_json(run_of(studied, row).summary())["metrics"]
        for metric in ("f1_macro", "auroc"):
            line = found[row, metric]
            assert float(line["mean"]) == pytest.approx(summary[metric]["mean"])
            assert float(line["low"]) <= float(line["mean"]) <= float(line["high"])
    page = check_accessible_and_alone((studied / "report.html").read_text(encoding="utf-8"))
    assert any("AUROC" in cell.text for cell in page.all("th"))


def test_each_row_has_trained_another_student(studied):
    answers = {row: AnswerTable.read_csv(run_of(studied, row).scores()) for row in ROWS}
    assert len({table.probabilities.tobytes() for table in answers.values()}) == len(ROWS)
    assert len({tuple(table.cases) for table in answers.values()}) == 1


def test_the_best_teacher_is_the_one_with_the_highest_score_on_the_selection_split(studied):
    teacher = read_json(run_of(studied, "best").teacher_check)
    described = teacher["description"]
    alone = {row: f"{row}-s0" for row in TEACHERS}
    assert list(described["scores"]) == list(alone.values())
    assert described["best"] == max(described["scores"], key=described["scores"].get)
    assert teacher["name"] == f"{described['best']} (best of 3)"
    several = "mean_auroc" in teacher
    score = teacher["mean_auroc" if several else "accuracy"]
    assert score == pytest.approx(described["scores"][described["best"]])
    number = list(alone.values()).index(described["best"])
    assert [row[0] for row in described["weights"]] == [float(n == number) for n in range(3)]


def test_the_members_are_stored_once_for_all_rows(studied):
    stored = read_json(run_of(studied, "roskd").teacher_store)
    assert list(stored["members"]) == [f"{row}-s0" for row in TEACHERS]
    cases = read_json(run_of(studied, "roskd").environment)["split_counts"]["train"]
    assert stored["rows"] == 3 * cases
    assert read_json(run_of(studied, "roskd").calibration)["temperature"] > 0


def test_co_teaching_keeps_both_networks_and_uses_the_first(studied):
    spec, network = load_model(run_of(studied, "co_teaching").weights)
    assert spec.form == "twin"
    assert network.branches == ("first", "second")


def test_the_history_holds_the_terms_of_each_method(studied):
    terms = {"roskd": ("kd", "ce"), "smoothed": ("smoothed",), "symmetric": ("symmetric",),
             "co_teaching": ("first", "second")}  # fmt: skip
    for row, names in terms.items():
        columns = next(csv.DictReader(run_of(studied, row).history.open()))
        assert {f"train_{name}" for name in names} <= set(columns)
    assert json.loads((studied / "comparison.json").read_text())["baseline"] == "alone"
