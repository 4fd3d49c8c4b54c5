"""The page docs/methods/roskd.md: its loop runs, and its tables say what the code does."""

import re
from pathlib import Path

import pytest

import meddistill.losses
from meddistill.methods import (
    METHODS,
    CoTeaching,
    LabelSmoothing,
    StochasticEnsembleDistillation,
    SymmetricLearning,
)
from meddistill.methods.roskd_presets import PRESETS

PAGE = (Path(__file__).parents[2] / "docs" / "methods" / "roskd.md").read_text(encoding="utf-8")
[LOOP] = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_plain_loop_runs_and_the_student_knows_better_than_the_labels():
    names = {}
    exec(compile(LOOP, "roskd.md", "exec"), names)
    history = names["history"]
    assert set(history[0]) == {"loss", "kd", "ce"}
    assert history[-1]["kd"] < 0.5 * history[0]["kd"]
    assert 0.12 < names["wrong"] < 0.28
    assert names["accuracy"] > 1 - 0.6 * names["wrong"]


@pytest.mark.parametrize(("column", "preset"), [(2, "paper"), (3, "reference")])
def test_every_setting_in_the_table_of_defects_is_that_of_the_preset(column, preset):
    rows = [line.split(" | ") for line in PAGE.splitlines() if re.match(r"^\| \d+ \|", line)]
    assert len(rows) == 7
    said = {}
    for row in rows:
        for name, value in re.findall(r"`(\w+)=([^`]+)`", row[column]):
            said[name] = eval(value)  # noqa: S307 - our own page
    assert said == vars(PRESETS[preset])


def test_the_numbers_on_the_page_are_the_defaults():
    method = StochasticEnsembleDistillation()
    assert "α = 0.9, T = 10 and w = (0.7, 0.2, 0.09, 0.01)" in PAGE
    assert (method.alpha, method.temperature, method.weights) == (0.9, 10.0, (0.7, 0.2, 0.09, 0.01))
    assert "s = 0.1" in PAGE
    assert LabelSmoothing().smoothing == 0.1
    symmetric = SymmetricLearning()
    assert "α = 0.1, β = 1 and RCE = −A (1 − q_y), A = −4" in PAGE
    assert (symmetric.alpha, symmetric.beta, symmetric.log_zero) == (0.1, 1.0, -4.0)
    assert CoTeaching().select == "case"


def test_every_control_and_loss_on_the_page_exists():
    controls = PAGE.partition("## Controls")[2].partition("## In a plain")[0]
    assert set(re.findall(r"^\| `(\w+)`", controls, flags=re.MULTILINE)) <= set(METHODS)
    for name in ("partial_cross_entropy", "kl_divergence", "bernoulli_kl"):
        assert f"`{name}`" in PAGE
        assert hasattr(meddistill.losses, name)
