"""Score tables with chosen Dice values, for the tests beside this file."""

import math

from meddistill.evaluation import ScoreTable


def row(case, dice=0.5, *, state="ok", group=None, label="lesion", **changes):
    overlap = {"missed": 0.0, "false_alarm": 0.0, "both_empty": math.nan}.get(state, dice)
    distance = {"missed": 100.0, "false_alarm": 100.0, "both_empty": math.nan}.get(state, 2.0)
    values = {
        "case": case,
        "group": group or case,
        "stratum": "benign",
        "class": label,
        "state": state,
        "dice": overlap,
        "iou": overlap / (2 - overlap),
        "precision": overlap,
        "recall": overlap,
        "hd95": distance,
        "asd": distance / 2,
        "nsd": overlap,
        "unit": "px",
        "ece": 0.1,
        "nll": 0.3,
        "brier": 0.2,
        "pixels": 100,
        "label_pixels": 10 if state in ("ok", "missed") else 0,
        "predicted_pixels": 10 if state in ("ok", "false_alarm") else 0,
    }
    return values | changes


def table(dice, **changes):
    """One case per Dice value, called c0, c1, ..."""
    return ScoreTable.from_rows(row(f"c{index}", value, **changes) for index, value in enumerate(dice))
