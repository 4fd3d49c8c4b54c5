"""The page docs/teachers.md: its examples run, its recipe is one, and what it says by hand is so."""

import re
import warnings
from pathlib import Path

import pytest
import yaml

from meddistill.config.load import check_recipe
from tests.recipes import tiny

PAGE = (Path(__file__).parents[2] / "docs" / "teachers.md").read_text(encoding="utf-8")


def test_the_examples_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for block in blocks:
            exec(compile(block, "teachers.md", "exec"), names)
    assert "teacher 'exported': mean Dice 0." in capsys.readouterr().out


def test_the_recipe_is_one():
    [block] = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    recipe = check_recipe(tiny(**yaml.safe_load(block)))
    assert [member.row or member.path for member in recipe.teacher.members] == [
        "unet",
        "spleen_bundle",
        "other.onnx",
    ]
