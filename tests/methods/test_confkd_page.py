"""The page docs/methods/confkd.md: its loop runs, and its tables say what the code does."""

import re
from pathlib import Path

import pytest
import torch

import meddistill.losses
from meddistill.methods import METHODS, MixedSupervision
from meddistill.methods.confkd_presets import PRESETS

PAGE = (Path(__file__).parents[2] / "docs" / "methods" / "confkd.md").read_text(encoding="utf-8")
[LOOP] = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_plain_loop_runs_and_both_branches_find_the_square():
    names = {}
    exec(compile(LOOP, "confkd.md", "exec"), names)
    history, masks = names["history"], names["masks"]
    assert set(history[0]) == {"loss", "strong", "weak", "kd", "entropy"}
    assert history[-1]["strong"] < 0.5 * history[0]["strong"]
    assert history[-1]["entropy"] < 0.5 * history[0]["entropy"]
    for branch in ("upper", "lower"):
        found = names[branch].argmax(1)
        dice = 2 * (found * masks).sum() / (found.sum() + masks.sum())
        assert dice > 0.8, branch
    assert torch.equal(names["student"].branch("lower")(names["images"]), names["lower"])


@pytest.mark.parametrize(("column", "preset"), [(2, "paper"), (3, "reference")])
def test_every_setting_in_the_table_of_defects_is_that_of_the_preset(column, preset):
    rows = [line.split(" | ") for line in PAGE.splitlines() if re.match(r"^\| (\d+|–) \| .* \| .* \|", line)]
    said = {}
    for row in rows:
        for name, value in re.findall(r"`(\w+)=([^`]+)`", row[column] if len(row) > column else ""):
            said[name] = eval(value)  # noqa: S307 - our own page
    assert said == vars(PRESETS[preset])


def test_the_weights_on_the_page_are_the_defaults():
    method = MixedSupervision()
    assert "L_s + 0.1 L_w + 1 L_kd + 1 L_ent" in PAGE
    assert (method.w_weak, method.kd_weight, method.w_ent, method.temperature) == (0.1, 1.0, 1.0, 2.0)


def test_every_control_in_the_table_can_be_built():
    section = PAGE.partition("## Controls and peers")[2].partition("## In a plain")[0]
    named = set(re.findall(r"^\| .*? \| `(\w+)`", section, flags=re.MULTILINE))
    assert named == set(METHODS) - {"distillation", "paced", "pseudo_label_transfer"}


def test_every_loss_in_the_table_of_terms_exists():
    named = re.findall(r"^\| L_\w+ \|.*\| (`.*) \|$", PAGE, flags=re.MULTILINE)
    losses = {name for cell in named for name in re.findall(r"`(\w+)`", cell)}
    assert losses == {"partial_cross_entropy", "soft_dice_loss", "kl_divergence", "prediction_entropy"}
    assert all(hasattr(meddistill.losses, name) for name in losses)
