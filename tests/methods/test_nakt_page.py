"""The page docs/methods/nakt.md: its loop runs, and its tables and numbers say what the code does."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch
import yaml

import meddistill.exclusion
import meddistill.losses
import meddistill.teachers
from meddistill.exclusion import RULES, create_rule
from meddistill.methods import PseudoLabelTransfer, create_method
from meddistill.methods.selection import DynamicSelection
from meddistill.teachers.joining import join_probabilities

PAGE = (Path(__file__).parents[2] / "docs" / "methods" / "nakt.md").read_text(encoding="utf-8")
[LOOP] = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
[RECIPE] = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_plain_loop_runs_leaves_out_what_is_poor_and_finds_the_squares(capsys):
    names = {}
    exec(compile(LOOP, "nakt.md", "exec"), names)
    assert names["kept"].tolist() == list(range(16))
    removed = [count.removed for count in names["outcome"].counts]
    assert removed == [4, 4]
    assert capsys.readouterr().out.startswith("16 of 24 cases are kept")
    assert set(names["history"][0]) == {"loss", "bce", "dice"}
    assert names["history"][-1]["loss"] < 0.3 * names["history"][0]["loss"]
    found, masks = names["found"], names["squares"][:16]
    assert 2 * (found * masks).sum() / (found.sum() + masks.sum()) > 0.95


def test_the_table_of_rules_lists_all_with_their_defaults():
    rows = re.findall(r"^\| `(\w+)` \| .* \| `(\w+): ([\d.]+)` \|$", PAGE, flags=re.MULTILINE)
    said = {name: {option: float(value)} for name, option, value in rows}
    rules = {name: dataclasses.asdict(create_rule(name)) for name in RULES}
    assert said == rules
    assert list(said) == list(RULES)


def test_the_first_two_rules_are_the_default():
    assert [rule.name for rule in PseudoLabelTransfer().rules] == list(RULES)[:2]


def test_every_name_in_the_table_of_quantities_exists():
    section = PAGE.partition("## What is computed")[2].partition("## Rules")[0]
    names = re.findall(r"^\|.*\| `(\w+)` \|$", section, flags=re.MULTILINE)
    rooms = (meddistill.teachers, meddistill.exclusion, meddistill.losses)
    assert len(names) == 5
    assert all(any(hasattr(room, name) for room in rooms) for name in names)


def test_the_method_of_the_recipe_can_be_built():
    recipe = yaml.safe_load(RECIPE)
    method = create_method(**recipe["method"])
    assert method.rules == PseudoLabelTransfer().rules
    assert (method.bce, method.dice) == (1, 1)
    assert "L = 1 L_bce + 1 L_dice" in PAGE


def test_the_options_of_the_selection_are_those_of_the_page():
    [written] = re.findall(r"`dynamic: (\{.*?\})`", PAGE)
    options = yaml.safe_load(written)
    left_out = DynamicSelection(tau=options["tau"])
    left_out.prepare(options["epochs"])
    given = DynamicSelection(**options)
    assert left_out.tau == DynamicSelection().tau
    for epoch in (0, 60, 119, 120, 159):
        left_out.on_epoch_start(epoch)
        given.on_epoch_start(epoch)
        assert left_out.status() == given.status()


def test_two_experts_say_what_the_page_says():
    known = torch.tensor([[True, True, False], [True, False, True]])
    logits = torch.tensor([[[0.01, 0.99, 0.0]], [[0.99, 0.0, 0.01]]]).log()
    y = join_probabilities(logits, known.float(), known).softmax(1)[0]
    assert float(y[1]) == pytest.approx(0.9899, abs=5e-5)
    assert "98.99 % liver" in PAGE
