"""Agreement with numbers computed by the released code of mixed supervision."""

import json
import os
from pathlib import Path

import pytest
import torch

from meddistill.losses import IGNORE_INDEX
from meddistill.methods import MixedSupervision
from meddistill.models import DualLogits
from meddistill.testing import make_batch

FOLDER = Path(os.environ.get("MEDDISTILL_REFERENCE", Path(__file__).parents[3] / "shared" / "reference"))
FILE = FOLDER / "confkd_official.json"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not FILE.exists(), reason=f"{FILE} is absent: set MEDDISTILL_REFERENCE"),
]
CASES = json.loads(FILE.read_text()) if FILE.exists() else []


@pytest.fixture(params=CASES, ids=lambda case: f"{len(case['labels'])} images")
def case(request):
    return request.param


def terms(case, preset: str):
    """The terms of one batch that is fully labelled, its weak label being the marked foreground."""
    labels = torch.tensor(case["labels"])
    marked = torch.tensor(case["weak_foreground"])
    weak = torch.where(marked > 0, marked, IGNORE_INDEX)
    answer = DualLogits(torch.tensor(case["top_logits"]), torch.tensor(case["bottom_logits"]))
    method = MixedSupervision(preset=preset, temperature=case["temperature"])
    return method(answer, {**make_batch(labels), "weak": weak})


def assert_agrees(ours, theirs):
    torch.testing.assert_close(ours.double(), torch.tensor(theirs, dtype=torch.float64), rtol=1e-5, atol=0)


def test_the_reference_preset_gives_the_released_numbers(case):
    found, theirs = terms(case, "reference"), case["outputs"]
    assert_agrees(found["strong"], theirs["ce_top"])
    assert_agrees(found["weak"], theirs["partial_ce_foreground_only"])
    assert_agrees(found["entropy"], theirs["entropy_mean_over_all_elements"])
    assert_agrees(found["kd"], theirs["kd_official_double_softmax_reversed_alpha0.5"])
    assert_agrees(found["loss"], theirs["total_official_weak0.1_kl50_ent1_single_stream"])


def test_the_paper_preset_gives_the_clean_numbers(case):
    found, theirs = terms(case, "paper"), case["outputs"]
    assert_agrees(found["strong"], theirs["ce_top"])
    assert_agrees(found["weak"], theirs["partial_ce_foreground_only"])  # nothing else is marked
    assert_agrees(found["entropy"], theirs["entropy_sum_classes_mean_pixels"])
    assert_agrees(found["kd"], theirs["kd_clean_KL_top_to_bottom_T2_sum_classes_mean_pixels"])
