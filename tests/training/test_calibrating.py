"""Where a calibration is fitted, and what it suits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from meddistill.errors import ConfigError, RunError
from meddistill.training.calibrating import check_calibration, held_out_split


def data(task: str = "segmentation", hidden: tuple[str, ...] = (), **cases: int) -> Any:
    """What is asked of the data of a run."""
    return SimpleNamespace(
        task=task,
        source=SimpleNamespace(task=task),
        split=SimpleNamespace(cases={name: [object()] * count for name, count in cases.items()}),
        has_labels=lambda split: split not in hidden,
    )


def test_the_calibration_split_comes_first():
    assert held_out_split(data(calibration=2, selection=3)) == "calibration"
    assert held_out_split(data(calibration=0, selection=3)) == "selection"
    assert held_out_split(data(calibration=2, selection=3, hidden=("calibration",))) == "selection"


@pytest.mark.parametrize("where", [data(train=5), data(selection=2, hidden=("selection",))])
def test_without_held_out_labels_there_is_no_calibration(where: Any):
    with pytest.raises(RunError, match="neither a calibration nor a selection split with labels"):
        held_out_split(where)


def test_what_does_not_suit_the_labels_is_refused():
    check_calibration("local", data())
    check_calibration("temperature", data("multi_label"))
    with pytest.raises(ConfigError, match="--calibrate local fits a temperature for each pixel"):
        check_calibration("local", data("classification"))
    with pytest.raises(ConfigError, match="--calibrate class needs classes that exclude each other"):
        check_calibration("class", data("multi_label"))
