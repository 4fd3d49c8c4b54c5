"""The page of a sweep."""

from __future__ import annotations

import numpy as np
import pytest

from meddistill.evaluation.corrupted import PointScores, summarise_corruptions
from meddistill.report.robustness import write_robustness
from tests.report.markup import check_accessible_and_alone

GROUPS = np.array(["a", "b", "c", "d", "e"])


def scores(offset: float, seeds: int) -> PointScores:
    rng = np.random.default_rng(0)
    fall = {
        ("clean", 0): 0.0,
        ("fog", 1): 0.1,
        ("fog", 3): 0.3,
        ("glass_blur", 1): 0.2,
        ("glass_blur", 3): 0.4,
    }
    return PointScores(
        {point: 0.7 + offset - by + 0.05 * rng.random((seeds, 5)) for point, by in fall.items()}, GROUPS
    )


POINTS = [
    {"run": run, "disturbance": kind, "strength": at, "metric": metric, "mean": mean}
    for run, mean in (("iid-s0", 0.6), ("kd-s0", 0.7))
    for kind, at in (("clean", 0.0), ("fog", 1.0), ("pgd", 2.0), ("pgd", 4.0))
    for metric in ("dice", "iou")
]


@pytest.fixture
def source(tmp_path):
    def written(rows, points=(), **more):
        found = summarise_corruptions(rows, "dice")
        page = write_robustness(found, points, tmp_path / "report.html", **more)
        return found, page.read_text(encoding="utf-8")

    return written


def test_the_page_stands_alone_and_says_what_was_found(source):
    rows = {"iid": scores(0, 2), "kd <b>": scores(0.1, 2)}
    found, text = source(rows, POINTS, command="meddistill robustness runs/iid-s0")
    page = check_accessible_and_alone(text)
    assert page.all("h1")[0].text == "Dice on corrupted images"
    headings = [e.text for e in page.all("th", scope="row")]
    assert headings == ["none", "1", "3", "mean", "fog", "glass blur"]
    alts = [e.attributes["aria-label"] for e in page.all("svg")]
    assert f"kd <b>: {found.of('kd <b>', 'clean', 0).mean:.3f} (" in alts[0]
    assert [alt for alt in alts if "iid-s0 pgd: 0.600 at 2, 0.600 at 4" in alt]
    sentences = [e.text for e in page.all("li")]
    assert f"{found.relative['iid']:.2f} of its clean score." in sentences[0]
    assert "+0.100 (95 % CI" in sentences[1]
    assert "over seeds" in text
    assert "meddistill robustness runs/iid-s0" in text


def test_a_single_row_has_no_differences_and_no_attacks(source):
    _, text = source({"iid": scores(0, 1)})
    page = check_accessible_and_alone(text)
    assert "Holm" not in text
    assert not page.all("section", id="attacks")
    assert "over seeds" not in text
