from pathlib import Path

import pytest

from meddistill.cli import run
from meddistill.errors import ConfigError
from meddistill.training.table_files import table_files
from tests.mistakes import made_run


@pytest.fixture
def folders(tmp_path):
    dice = tuple(0.4 + 0.02 * place for place in range(12))
    made = [
        made_run(tmp_path / name, dice=tuple(d + shift for d in dice))
        for name, shift in (("a", 0), ("b", 0.1))
    ]
    return [str(folder) for folder in made]


def test_the_ending_decides_and_a_folder_gets_every_kind(tmp_path):
    assert table_files(tmp_path / "t.tex") == [tmp_path / "t.tex"]
    assert [file.suffix for file in table_files(tmp_path / "new")] == [".md", ".csv", ".tex"]
    dotted = tmp_path / "v1.2"
    dotted.mkdir()
    assert table_files(dotted)[0] == dotted / "table.md"
    with pytest.raises(
        ConfigError, match=r"cannot be written as \.xlsx; use \.md, \.csv, \.tex, or a folder"
    ):
        table_files(Path("t.xlsx"))


def test_compare_writes_what_is_asked_for(folders, tmp_path, capsys):
    assert run(["compare", *folders, "-o", str(tmp_path / "out")]) == 0
    out = tmp_path / "out"
    assert sorted(file.name for file in out.iterdir()) == ["table.csv", "table.md", "table.tex"]
    assert (out / "table.md").read_text() in capsys.readouterr().out
    assert r"\bottomrule" in (out / "table.tex").read_text()
    assert run(["compare", *folders, "-o", str(tmp_path / "one.csv")]) == 0
    assert (tmp_path / "one.csv").read_text() == (out / "table.csv").read_text()


def test_an_unknown_ending_is_refused_before_anything_is_compared(tmp_path, capsys):
    assert run(["compare", "nowhere", "elsewhere", "-o", str(tmp_path / "t.xlsx")]) == 2
    assert capsys.readouterr().err.startswith(
        f"error: {tmp_path / 't.xlsx'}: a table cannot be written as .xlsx"
    )
