import json

import numpy as np
import pytest

from meddistill.report.reading import read_run, to_number
from meddistill.training.run_folder import RunFolder
from tests.report.builders import build_run


@pytest.fixture
def run(tmp_path):
    return build_run(tmp_path / "r", cases=9)


def test_a_whole_run_misses_nothing(run):
    content = read_run(run)
    assert content.missing == ()
    assert content.config["method"]["mode"] == "tpl_uncert"
    assert content.history["epoch"][-1] == 39.0
    assert len(content.scores) == 9
    assert content.gallery.images.shape == (9, 1, 128, 128)


def test_optional_parts_are_not_missed(run):
    run.calibration.unlink()
    run.teacher_check.unlink()
    content = read_run(run)
    assert content.missing == ()
    assert content.calibration == {}


def test_an_empty_gallery_is_no_gallery(run):
    nothing = np.zeros((0, 0, 0), np.int16)
    np.savez(run.gallery(), case=np.array([], str), image=nothing[None], label=nothing, student=nothing)
    content = read_run(run)
    assert content.gallery is None
    assert content.missing == ()


@pytest.mark.parametrize("name", ["label", "student", "uncertainty", "dice", "image"])
def test_a_gallery_whose_parts_do_not_fit_is_left_out(run, name):
    with np.load(run.gallery()) as arrays:
        parts = dict(arrays)
    np.savez(run.gallery(), **{**parts, name: parts[name][:-1]})
    content = read_run(run)
    assert content.gallery is None
    assert content.missing == ("evaluation/test-gallery.npz cannot be read; what it would tell is left out.",)


def test_a_pickled_gallery_is_not_opened(run):
    np.savez(run.gallery(), case=np.array([{"a": 1}], dtype=object))
    assert read_run(run).gallery is None


def test_short_and_long_rows_of_a_history_are_read(tmp_path):
    run = RunFolder(tmp_path)
    run.history.write_text("epoch,train_loss,lr\n0,0.5\n1,nan,0.1,7\n")
    assert read_run(run).history == {"epoch": [0.0, 1.0], "train_loss": [0.5, None], "lr": [None, 0.1]}


@pytest.mark.parametrize("value", ["", None, "x", float("inf"), [], {}])
def test_what_is_no_number_is_none(value):
    assert to_number(value) is None


def test_null_in_json_is_tolerated(run):
    run.summary().write_text(json.dumps({"metrics": {"dice": None}, "counts": None, "reliability": None}))
    assert read_run(run).summary["counts"] is None
