"""The page docs/methods/pcd.md: its loop runs, its other snippets parse, and its tables name what exists."""

import ast
import re
from pathlib import Path

import pytest

import meddistill.losses
import meddistill.pacing
from meddistill.methods import Distillation, PacedDistillation, Supervised

PAGE = (Path(__file__).parents[2] / "docs" / "methods" / "pcd.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_plain_loop_runs_and_learns_at_the_pace_it_says():
    names = {}
    exec(compile(BLOCKS[0], "pcd.md", "exec"), names)
    history = names["history"]
    thresholds = [row["threshold"] for row in history]
    shares = [row["share_in_use"] for row in history]
    assert thresholds[0] > 0 == thresholds[9]
    assert shares[0] < shares[9] == 1.0
    assert shares == sorted(shares)
    assert history[9]["ce"] < 0.5
    assert set(history[0]) == {"threshold", "share_in_use", "loss", "kd", "ce"}


@pytest.mark.parametrize("block", BLOCKS[1:])
def test_the_other_snippets_parse(block):
    ast.parse(block)


def test_every_call_in_the_command_tables_can_be_made():
    calls = re.findall(r"`((?:Supervised|Distillation|PacedDistillation)\(.*?\))`", PAGE)
    assert len(calls) >= 9
    methods = {"Supervised": Supervised, "Distillation": Distillation, "PacedDistillation": PacedDistillation}
    for call in calls:
        numbers = {"B": 0.5, "G": 0.5, "b": 0.5, "g": 0.5}
        assert eval(call, {**methods, **numbers}).status() == {}  # noqa: S307 - our own page


def test_every_function_in_the_table_of_quantities_exists():
    names = re.findall(r"^\|.*\| `(\w+)[^`]*` \|$", PAGE, flags=re.MULTILINE)
    assert "kl_divergence" in names
    for name in set(names) & {"kl_divergence", "cross_entropy", "label_smoothing_map"}:
        assert hasattr(meddistill.losses, name)
    for name in ("true_class_confidence", "HardMask", "SoftWeight"):
        assert name in names
        assert hasattr(meddistill.pacing, name)
