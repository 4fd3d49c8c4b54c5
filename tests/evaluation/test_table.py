import math

import numpy as np
import pytest

from meddistill.errors import RunError
from meddistill.evaluation import ScoreTable
from meddistill.evaluation.table import COLUMNS

from .tables import row, table


def test_csv_round_trip_keeps_every_digit_and_odd_names(tmp_path):
    rows = [
        row('benign/benign (1), "left"\nline', 1 / 3),
        row("naïve", state="both_empty", stratum=""),
        row("c", state="missed", hd95=math.inf),
    ]
    written = ScoreTable.from_rows(rows)
    written.write_csv(tmp_path / "deep" / "scores.csv")
    read = ScoreTable.read_csv(tmp_path / "deep" / "scores.csv")
    assert list(read.columns) == list(COLUMNS)
    for name in COLUMNS:
        np.testing.assert_array_equal(read[name], written[name])
        assert read[name].dtype == written[name].dtype


def test_a_file_from_before_nsd_is_read_and_written_without_it(tmp_path):
    old = row("c0", 0.25)
    del old["nsd"]
    ScoreTable.from_rows([old]).write_csv(tmp_path / "old.csv")
    assert "nsd" not in (tmp_path / "old.csv").read_text()
    read = ScoreTable.read_csv(tmp_path / "old.csv")
    assert math.isnan(read["nsd"].item())
    assert next(read.rows()) == old


def test_an_empty_table_round_trips(tmp_path):
    ScoreTable.from_rows([]).write_csv(tmp_path / "scores.csv")
    assert len(ScoreTable.read_csv(tmp_path / "scores.csv")) == 0


def test_filter_and_rows():
    scores = table([0.1, 0.9, 0.4])
    kept = scores.filter(scores["dice"] > 0.3)
    assert [r["case"] for r in kept.rows()] == ["c1", "c2"]
    assert next(kept.rows()) == row("c1", 0.9)
    assert len(scores) == 3


def test_unknown_column_names_the_nearest():
    with pytest.raises(RunError, match="did you mean 'dice'"):
        table([0.5])["dicee"]


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(RunError, match=r"scores\.csv is missing: evaluate the run first"):
        ScoreTable.read_csv(tmp_path / "scores.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column 'case'"),
        (b"case,group\na,b\n", "no column 'stratum'"),
        (b"\xff\xfe\x00", "cannot read"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, content, message):
    path = tmp_path / "scores.csv"
    path.write_bytes(content)
    with pytest.raises(RunError, match=message):
        ScoreTable.read_csv(path)


@pytest.mark.parametrize(("old", "new"), [("0.5", "half"), ("\n", "\ntruncated row\n")])
def test_damaged_rows_are_refused(tmp_path, old, new):
    path = tmp_path / "scores.csv"
    table([0.5]).write_csv(path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(RunError, match="cannot read the score table"):
        ScoreTable.read_csv(path)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot write"):
        table([0.5]).write_csv(tmp_path / "file" / "scores.csv")
