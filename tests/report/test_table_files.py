import csv
import io

from meddistill.report.table_files import table_csv, table_latex, with_existing, with_files
from meddistill.report.tables import Cell, Column, Table

TABLE = Table(
    "Scores & more",
    (Column("Row"), Column("Dice", numeric=True), Column("Reading")),
    (
        (
            Cell("a,b"),
            Cell("0.81", 0.8125, note="0.78\N{NO-BREAK SPACE}to 0.84\n9 cases", stars="*"),
            Cell("x"),
        ),
        (Cell("_c_"), Cell("–"), Cell("y")),
    ),
)


def test_csv_has_full_numbers_notes_and_quotes():
    lines = list(csv.reader(io.StringIO(table_csv(TABLE))))
    assert lines == [
        ["Row", "Dice", "Dice (note)", "Reading"],
        ["a,b", "0.8125", "*; 0.78 to 0.84; 9 cases", "x"],
        ["_c_", "", "", "y"],
    ]


def test_latex_shows_what_the_page_shows():
    text = table_latex(TABLE, "tab:x")
    assert r"a,b & 0.81$^{*}$ (0.78~to 0.84) & x \\" in text
    assert r"\_c\_ & -- & y \\" in text
    assert r"\caption{Scores \& more}" in text


def test_a_table_links_to_the_files_that_are_there(tmp_path):
    written = with_files(TABLE, tmp_path, "my table")
    assert written.links == [("CSV", "my%20table.csv"), ("LaTeX", "my%20table.tex")]
    (tmp_path / "my table.tex").unlink()
    assert with_existing(TABLE, tmp_path, "my table").links == [("CSV", "my%20table.csv")]
    assert with_existing(TABLE, tmp_path, "other").links == []
