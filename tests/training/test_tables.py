import numpy as np
import pytest

from meddistill.cli import run
from meddistill.errors import ConfigError
from meddistill.training.run_folder import read_json
from meddistill.training.tables import compare_folders, compare_tables
from tests.evaluation.answer_tables import table as answers
from tests.mistakes import made_run

BASE = np.random.default_rng(0).uniform(0.4, 0.9, 24)


@pytest.fixture
def folders(tmp_path):
    teacher = made_run(tmp_path / "teacher", dice=tuple(BASE))
    student = made_run(tmp_path / "student", dice=tuple(BASE - 0.002))
    return [teacher, student]


def test_a_margin_is_judged_against_the_first_folder(folders):
    assert compare_folders(folders).margins == ()
    [found] = compare_folders(folders, margin=0.01).margins
    assert (found.row, found.against, found.metric) == ("student", "teacher", "dice")
    assert (found.not_worse, found.equivalent) == ("shown", True)
    assert found.worst == pytest.approx(-0.002)


def test_the_command_prints_the_verdict_and_writes_json(folders, tmp_path, capsys):
    file = tmp_path / "found.json"
    assert run(["compare", *map(str, folders), "--margin", "0.001", "--json", str(file)]) == 0
    assert "student - teacher in Dice: not worse by more than 0.001: worse" in capsys.readouterr().out
    [found] = read_json(file)["margins"]
    assert (found["margin"], found["not_worse"]) == (0.001, "worse")


def test_scores_of_whole_sets_have_a_margin_too():
    rows = {"teacher": [answers(40, 2)], "student": [answers(40, 2)]}
    comparison = compare_tables(rows, baseline="teacher", margin=0.05)
    [found] = comparison.margins
    assert (found.metric, found.not_worse) == ("auroc", "shown")


def test_a_margin_of_zero_is_refused_before_anything_is_read():
    with pytest.raises(ConfigError, match="margin 0 must be above 0"):
        compare_folders(["nowhere", "elsewhere"], margin=0)
