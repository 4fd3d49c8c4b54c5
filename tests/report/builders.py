"""Run folders as a training and its evaluation would leave them, with made-up but plausible numbers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from meddistill.evaluation.compare import Comparison, ComparisonRow, ComparisonTest
from meddistill.training.run_folder import RunFolder

EPOCHS = 40
BEST_EPOCH = 31
CONFIG = """\
name: pcd-phantom
seed: 0
data:
  source: {kind: phantom, cases: 400}
  splits:
    fractions: {train: 0.6, selection: 0.1, calibration: 0.05, test: 0.25}
  size: [128, 128]
model:
  name: pcd/unet
  options: {width: 8}
teacher:
  path: runs/teacher-s0
method: {name: paced, mode: tpl_uncert, temperature: 4.5, beta: 0.7, gamma: 0.8, every: 5}
training: {epochs: 40, batch_size: 24, optimizer: adam, lr: 0.003}
"""
ENVIRONMENT = {
    "command": "meddistill train pcd-phantom --out runs/pcd-s0",
    "python": "3.11.9",
    "platform": "Linux-6.1-x86_64",
    "processor": "AMD EPYC 7B13",
    "cores": 2,
    "accelerator": "none",
    "versions": {"meddistill": "0.1.0", "torch": "2.12.1", "monai": "1.5.1", "numpy": "2.3.1"},
    "data_fingerprint": "9c1f0d6a4be2",
    "split_note": "drawn by group and stratum with seed 0",
    "split_counts": {"train": 240, "selection": 40, "calibration": 20, "test": 100},
    "split_cases": {"train": [f"train/{number:03d}" for number in range(240)]},
}
MODEL = {
    "name": "pcd/unet",
    "in_channels": 1,
    "num_classes": 2,
    "dims": 2,
    "options": {"width": 8},
    "class_names": ["background", "lesion"],
    "size": [128, 128],
    "parameters": 487_201,
    "teacher": "teacher-s0",
    "teacher_parameters": 7_763_000,
}

TEACHER = {
    "split": "selection", "name": "teacher-s0", "cases": 40, "dice": [0.871], "counts": [36],
    "mean_dice": 0.871, "floor": 0.3,
}  # fmt: skip

STORE = {
    "mode": "joint", "folder": "stores/a", "key": "a" * 16, "encoding": "uint8", "rows": 544,
    "bytes": 544 * 4112, "annotation": "all 544 rows were there",
    "differences": [
        {"change": "none", "largest": 0.0031, "mean": 0.0004, "cases": 8},
        {"change": "flip", "largest": 0.61, "mean": 0.0123, "cases": 8},
    ],
}  # fmt: skip


def build_run(root: Path, *, cases: int = 100, first_case: str = "benign/case (0)") -> RunFolder:
    """A finished run with every file that the report reads."""
    run = RunFolder(root)
    (root / "evaluation").mkdir(parents=True)
    run.config.write_text(CONFIG)
    _json(run.environment, ENVIRONMENT)
    _json(run.model, MODEL)
    _json(run.state, {"state": "finished", "epochs_done": EPOCHS, "best_epoch": BEST_EPOCH, "seconds": 754.2})
    _json(run.teacher_check, TEACHER)
    _json(run.teacher_store, STORE)
    _json(run.calibration, calibration())
    write_history(run.history)
    rows = score_rows(cases, first_case)
    write_rows(run.scores(), rows)
    _json(run.summary(), summary(rows))
    write_gallery(run.gallery(), [row["case"] for row in rows])
    return run


def calibration() -> dict[str, object]:
    return {
        "temperature": 1.834,
        "criterion": "nll",
        "nll_before": 0.241,
        "nll_after": 0.173,
        "ece_before": 0.0412,
        "ece_after": 0.0087,
        "bins_before": bins(0.10),
        "bins_after": bins(0.015),
    }


def bins(gap: float) -> dict[str, list[float]]:
    """Ten bins; those under one half are empty, as the largest of two probabilities leaves them."""
    confidence = [0.0] * 5 + [0.552, 0.651, 0.750, 0.853, 0.991]
    counts = [0] * 5 + [9_100, 12_400, 18_800, 41_000, 1_557_100]
    accuracy = [max(c - gap * (2 - c), 0.0) if n else 0.0 for c, n in zip(confidence, counts, strict=True)]
    return {"count": counts, "accuracy": accuracy, "confidence": confidence}


def write_history(path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = []
    for epoch in range(EPOCHS):
        fall = np.exp(-epoch / 9)
        supervised, imitated = 0.12 + 0.5 * fall, 0.05 + 0.35 * fall
        rows.append(
            {
                "epoch": epoch,
                "train_loss": supervised + imitated + rng.normal(0, 0.01),
                "train_cross_entropy": supervised + rng.normal(0, 0.007),
                "train_kl_divergence": imitated + rng.normal(0, 0.005),
                "selection_loss": 0.21 + 0.45 * fall + 0.0012 * epoch + rng.normal(0, 0.012),
                "selection_dice": 0.84 - 0.6 * fall - 0.0004 * abs(epoch - BEST_EPOCH) + rng.normal(0, 0.008),
                "lr": 0.003,
                "threshold": max(0.0, 0.9 - 0.9 * (epoch // 5) / 6),
                "share_in_use": min(1.0, 0.7 + 0.3 * (epoch // 5) / 6),
                "seconds": 18.8,
            }
        )
    write_rows(path, rows)


def score_rows(cases: int, first_case: str) -> list[dict[str, object]]:
    """Per-case scores: most are good, some poor, a few missed, empty or invented."""
    rng = np.random.default_rng(2)
    rows: list[dict[str, object]] = []
    for number in range(cases):
        stratum = ("benign", "malignant", "normal")[0 if number % 10 < 5 else 1 if number % 10 < 8 else 2]
        state = "ok" if stratum != "normal" else "both_empty" if number % 20 < 19 else "false_alarm"
        state = "missed" if number in (23, 67) else state
        dice = (
            float(np.clip(rng.beta(9, 1.6), 0, 1))
            if state == "ok"
            else None
            if state == "both_empty"
            else 0.0
        )
        case = first_case if number == 0 else f"{stratum}/case ({number})"
        rows.append(_score_row(case, stratum, state, dice, rng))
    return rows


def _score_row(case, stratum, state, dice, rng) -> dict[str, object]:
    boundary = None if dice is None else 181.02 if state != "ok" else (1 - dice) * 60 + rng.random()
    return {
        "case": case, "group": case, "stratum": stratum, "class": "lesion", "state": state,
        "dice": dice, "iou": None if dice is None else dice / (2 - dice),
        "precision": None if dice is None else min(1.0, dice + 0.03), "recall": dice,
        "hd95": boundary, "asd": None if boundary is None else boundary / 4, "unit": "px",
        "ece": rng.random() * 0.05, "nll": rng.random() * 0.3, "brier": rng.random() * 0.1,
        "pixels": 16384, "label_pixels": 0 if dice is None else 1800, "predicted_pixels": 1750 if dice else 0,
    }  # fmt: skip


def summary(rows: list[dict[str, object]]) -> dict[str, object]:
    def estimate(name: str) -> dict[str, float]:
        values = np.array([row[name] for row in rows if row[name] is not None], float)
        half = 1.96 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
        return {
            "mean": values.mean(),
            "low": values.mean() - half,
            "high": values.mean() + half,
            "n": len(values),
        }

    states = [row["state"] for row in rows]
    names = ("dice", "iou", "precision", "recall", "hd95", "asd", "ece", "nll", "brier")
    return {
        "metrics": {name: estimate(name) for name in names},
        "classes": {"lesion": {"metrics": {"dice": estimate("dice")}, "counts": {}}},
        "counts": {
            "cases": len(rows),
            **{s: states.count(s) for s in ("both_empty", "missed", "false_alarm")},
        },
        "dataset": {"ece": 0.0312, "nll": 0.144},
        "reliability": bins(0.03),
        "unit": "px",
        "policy": "Both empty: left out of the means; missed or false alarm: Dice 0 and the image diagonal.",
    }


MEANS = {"iid": 0.781, "kd": 0.786, "tpl": 0.799, "tpl_uncert": 0.812, "cpl": 0.764, "cpl_tpl": 0.803}
P_VALUES = {"kd": 0.41, "tpl": 0.013, "tpl_uncert": 0.0004, "cpl": 0.034, "cpl_tpl": 0.008}


def build_comparison(*, seeds: int = 3) -> Comparison:
    """Six rows and four metrics, with tests of each row against `iid`."""
    scale = {"dice": (1.0, 0.03), "iou": (0.86, 0.032), "hd95": (-40.0, 2.4), "ece": (-0.08, 0.002)}
    offset = {"dice": 0.0, "iou": 0.0, "hd95": 50.0, "ece": 0.1}
    rows, tests = [], []
    for metric, (factor, half) in scale.items():
        for row, dice in MEANS.items():
            mean = offset[metric] + factor * dice
            spread = half / 8 if seeds > 1 else float("nan")
            rows.append(ComparisonRow(row, metric, mean, mean - half, mean + half, spread, seeds, 100))
        for row, p in P_VALUES.items():
            gap = factor * (MEANS[row] - MEANS["iid"])
            better = MEANS[row] > MEANS["iid"]
            ends = (gap - half / 3, gap + half / 3)
            tests.append(
                ComparisonTest(row, "iid", metric, gap, *ends, p / 3, p, gap / half / 3, better, 100)
            )
    return Comparison("iid", tuple(scale), "px", tuple(rows), tuple(tests))


def write_gallery(path: Path, cases: list[object], *, teacher: bool = True, size: int = 128) -> None:
    """Three cases of each kind on speckled images with an elliptic lesion."""
    kinds = [kind for kind in ("worst", "median", "best") for _ in range(3)][: len(cases)]
    shift = {"worst": 14, "median": 4, "best": 1}
    rng = np.random.default_rng(3)
    drawn = [_case(rng, size, shift[kind]) for kind in kinds]
    arrays = {name: np.stack([one[name] for one in drawn]) for name in drawn[0]}
    if len(kinds) == 9:
        arrays["student"][0] = 0
    if not teacher:
        del arrays["teacher"]
    pairs = zip(arrays["student"], arrays["label"], strict=True)
    dice = np.array([2 * (student * label).sum() / (student + label).sum() for student, label in pairs])
    np.savez_compressed(path, case=np.array(cases[: len(kinds)]), kind=np.array(kinds), dice=dice, **arrays)


def write_two_class_gallery(path: Path, *, size: int = 64) -> None:
    """One case with a ring (1) round a core (2), the student's a little to the right."""
    y, x = np.mgrid[:size, :size]
    distance = np.hypot(y - size / 2, x - size / 2)
    label = np.where(distance < size / 8, 2, np.where(distance < size / 4, 1, 0)).astype(np.int16)
    image = np.random.default_rng(0).integers(0, 255, (1, 3, size, size), dtype=np.uint8)
    student = np.roll(label, 3, axis=1)
    np.savez_compressed(
        path, case=["a"], kind=["worst"], image=image, label=label[None], student=student[None], dice=[0.8]
    )


def _case(rng: np.random.Generator, size: int, shift: int) -> dict[str, np.ndarray]:
    y, x = np.mgrid[:size, :size]
    centre, axes = rng.uniform(0.35, 0.65, 2) * size, rng.uniform(0.12, 0.24, 2) * size
    wobble = 1 + 0.18 * np.sin(4 * np.arctan2(y - centre[0], x - centre[1]) + rng.uniform(0, 6))

    def ellipse(dy: float, dx: float, grow: float) -> np.ndarray:
        return ((y - centre[0] - dy) / axes[0]) ** 2 + ((x - centre[1] - dx) / axes[1]) ** 2 < (
            grow * wobble
        ) ** 2

    label = ellipse(0, 0, 1.0)
    speckle = rng.rayleigh(0.5, (size, size))
    tissue = np.where(label, 0.25, 0.62 + 0.12 * np.sin(y / 9)) * (1 - 0.45 * y / size)
    distance = np.abs(((y - centre[0]) / axes[0]) ** 2 + ((x - centre[1]) / axes[1]) ** 2 - 1)
    uncertainty = np.exp(-distance * (12 / (2 + shift))) * 235 + rng.uniform(0, 12, (size, size))
    return {
        "image": np.clip(tissue * (0.45 + speckle) * 255, 0, 255).astype(np.uint8)[None],
        "label": label.astype(np.int16),
        "student": ellipse(shift, -shift, 1.0 + shift / 60).astype(np.int16),
        "teacher": ellipse(-shift / 3, shift / 4, 0.97).astype(np.int16),
        "uncertainty": np.clip(uncertainty, 0, 255).astype(np.uint8),
    }


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in rows)


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, default=float), encoding="utf-8")
