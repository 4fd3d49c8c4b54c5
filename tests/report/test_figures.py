import sys

import matplotlib as mpl
import pytest

from meddistill.report import figures
from meddistill.report.forest import Estimate, forest
from meddistill.report.reliability import reliability
from meddistill.report.svg import SERIES, drawing
from tests.report.builders import bins

HISTORY = {
    "epoch": [0.0, 1.0, 2.0],
    "train_loss": [0.9, 0.5, 0.4],
    "selection_loss": [0.8, None, 0.6],
    "selection_dice": [0.2, 0.7, 0.6],
    "threshold": [0.9, 0.5, 0.0],
}


def test_losses_name_their_ends():
    alt = figures.loss_curves(HISTORY, 1.0).alt
    assert alt == "Epochs 0 to 2: training loss from 0.9 to 0.4; selection loss from 0.8 to 0.6."


def test_the_chosen_epoch_is_marked_and_named():
    picture = figures.selection_curve(HISTORY, 1.0)
    assert picture.alt.endswith("Epoch 1 was chosen, with 0.700.")
    assert "chosen epoch 1<" in picture.svg


@pytest.mark.parametrize("draw", [figures.loss_curves, figures.selection_curve, figures.pacing_curve])
def test_without_its_columns_there_is_no_drawing(draw):
    assert draw({"epoch": [0.0], "lr": [0.1], "selection_dice": [None]}) is None


def test_a_single_epoch_is_drawn():
    first = {name: values[:1] for name, values in HISTORY.items()}
    assert figures.loss_curves(first).alt.startswith("Epochs 0 to 0:")


def test_dice_by_case_groups_by_stratum_and_skips_undefined():
    rows = [
        {"stratum": "benign", "dice": "0.5"},
        {"stratum": "benign", "dice": "0.9"},
        {"stratum": "n", "dice": "nan"},
    ]
    assert figures.dice_by_case(rows).alt.endswith("benign: median 0.700, lowest 0.500.")
    assert figures.dice_by_case(rows[2:]) is None


def test_reliability_says_which_way_the_confidence_errs():
    assert "over-confident by 0.1" in reliability(bins(0.1), "Student").alt
    assert "under-confident" in reliability(bins(-0.01), "Student").alt
    assert reliability({"count": [0, 0], "accuracy": [0, 0], "confidence": [0, 0]}, "Student") is None
    assert reliability({"count": None, "accuracy": None}, "Student") is None


def test_forest_leaves_out_rows_without_a_mean():
    nan = float("nan")
    rows = [Estimate("iid", 0.8, 0.7, 0.9), Estimate("kd", nan, nan, nan), Estimate("pcd", 0.9, nan, nan)]
    picture = forest("dice", rows, "iid")
    assert picture.alt.replace("\N{NO-BREAK SPACE}", " ") == "iid 0.800 (0.700 to 0.900); pcd 0.900 (–)."
    assert forest("dice", rows[1:2], "iid") is None


def test_text_of_the_user_is_escaped_and_not_read_as_formula():
    picture = forest("dice", [Estimate("<b>$x_1$", 0.8, 0.7, 0.9)], "iid")
    assert "&lt;b&gt;$x_1$" in picture.svg
    assert "<b>" not in picture.svg


def test_drawing_leaves_the_settings_of_matplotlib_alone():
    before = dict(mpl.rcParams.copy())
    with mpl.rc_context({"font.size": 31}), drawing() as canvas:
        canvas.axes().plot([1, 2], color=SERIES[0])
    picture = canvas.picture("t", "a")
    assert "font-size: 31" not in picture.svg
    assert dict(mpl.rcParams.copy()) == before


def test_two_drawings_share_no_ids_and_no_style_sheet():
    pictures = [figures.selection_curve(HISTORY, best) for best in (0.0, 1.0)]
    first, second = ({part.partition('"')[0] for part in p.svg.split(' id="')[1:]} for p in pictures)
    assert first
    assert not first & second
    assert all("<style" not in p.svg for p in pictures)
    assert all("var(--series-1)" in p.svg for p in pictures)


def test_importing_the_report_does_not_import_matplotlib():
    import subprocess

    code = "import sys, meddistill.report; print({'matplotlib', 'torch', 'jinja2'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
