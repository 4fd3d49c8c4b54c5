"""The page docs/label-noise.md: its table names what there is, and its recipes are read."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from meddistill.config.labels import CleanConfig, NoiseConfig
from meddistill.config.load import check_section
from meddistill.config.splitting import SplitConfig
from meddistill.data.noise import NOISES

PAGE = (Path(__file__).parents[3] / "docs" / "label-noise.md").read_text(encoding="utf-8")
ROWS = [line.split(" | ")[0] for line in PAGE.splitlines() if line.startswith("| `")][1:]


def test_the_table_names_every_kind_with_its_options():
    named = set()
    for row in ROWS:
        kinds, _, options = row.partition("(")
        for kind in re.findall(r"`(\w+)`", kinds):
            named.add(kind)
            assert re.findall(r"`(\w+)`", options) == [option.name for option in fields(NOISES[kind])]
    assert named == set(NOISES)


@pytest.mark.parametrize(
    ("key", "kind"), [("noise", NoiseConfig), ("splits", SplitConfig), ("clean", CleanConfig)]
)
def test_the_recipes_on_the_page_are_read(key, kind):
    shown = [yaml.safe_load(text)["data"] for text in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)]
    sections = [section[key] for section in shown if key in section]
    assert sections
    for section in sections:
        check_section(kind, section)
