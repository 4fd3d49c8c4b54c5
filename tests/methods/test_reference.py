"""Agreement with numbers computed by the released P-CD code."""

import json
import os
import re
from pathlib import Path

import pytest
import torch

from meddistill.losses import cross_entropy, kl_divergence, label_smoothing_map
from meddistill.methods import Context, Distillation, PacedDistillation
from meddistill.pacing import Boundary, HardMask, LinearPacing, SoftWeight, TrueClass, falling_floor
from meddistill.testing import make_batch

FOLDER = Path(os.environ.get("MEDDISTILL_REFERENCE", Path(__file__).parents[3] / "shared" / "reference"))
FILE = FOLDER / "pcd_official.json"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not FILE.exists(), reason=f"{FILE} is absent: set MEDDISTILL_REFERENCE"),
]
CASES = json.loads(FILE.read_text()) if FILE.exists() else []


@pytest.fixture(params=CASES, ids=lambda case: "x".join(map(str, case["shape"])))
def case(request):
    return request.param


def tensors(case):
    labels = torch.tensor(case["labels"], dtype=torch.long)
    return torch.tensor(case["student_logits"]), labels, torch.tensor(case["teacher_logits"])


def assert_agrees(ours, theirs):
    theirs = torch.as_tensor(theirs, dtype=torch.float64)
    torch.testing.assert_close(torch.as_tensor(ours).double(), theirs, rtol=1e-4, atol=0)


def test_maps(case):
    student, labels, teacher = tensors(case)
    outputs, temperature = case["outputs"], case["kd_temperature"]
    assert_agrees(label_smoothing_map(labels, teacher.shape[1], centre="corner"), outputs["svls"])
    divergence = kl_divergence(student, teacher, temperature=temperature, class_reduction="mean")
    assert_agrees(divergence, outputs["kld_per_pixel"])
    assert_agrees(cross_entropy(student, labels), outputs["ce_per_pixel"])


def test_masks_and_weights(case):
    _, labels, teacher = tensors(case)
    outputs, confidence = case["outputs"], TrueClass(case["confidence_temperature"])
    assert_agrees(HardMask(confidence)(teacher, labels, 0.7), outputs["tpl_mask_mu0.7_T2.51"])
    soft = SoftWeight(confidence, falling_floor)(teacher, labels, 0.5)
    assert_agrees(soft, outputs["cpl_weight_mu0.5_T2.51"])
    assert_agrees(HardMask(Boundary(centre="corner"))(teacher, labels, 0.7), outputs["bu_mask_mu0.7"])


def test_distillation(case):
    student, labels, teacher = tensors(case)
    method = Distillation(temperature=case["kd_temperature"], class_reduction="mean")
    assert_agrees(method(student, make_batch(labels), teacher)["loss"], case["outputs"]["kd"])


def test_paced_losses(case):
    student, labels, teacher = tensors(case)
    losses = {key: value for key, value in case["outputs"].items() if key.startswith("loss_")}
    assert len(losses) == 16
    for key, theirs in losses.items():
        mode, weights_to, mu, cpl_mu = re.fullmatch(
            r"loss_(tpl|tpl_uncert|cpl|cpl_tpl)_(ce|kld|both)_mu([\d.]+)_cplmu([\d.]+)", key
        ).groups()
        method = PacedDistillation(
            mode=mode, weights_to=weights_to, preset="reference", temperature=case["kd_temperature"]
        )
        starts = {"threshold": float(mu), "cpl_threshold": float(cpl_mu)}
        temperature = case["confidence_temperature"]
        method.load_state_dict(
            {"confidence_temperature": temperature, "epochs": 150, "starts": starts, "shares": [1.0]}
        )
        assert_agrees(method(student, make_batch(labels), teacher)["loss"], theirs)


def test_pacing(case):
    _, labels, teacher = tensors(case)
    theirs = case["outputs"]["pacing_beta0.7_gamma0.8_epochs150_every5"]
    method = PacedDistillation(mode="tpl", preset="reference", beta=0.7, gamma=0.8, every=5)
    method.prepare(Context(teacher.shape[1], 150, lambda: [(teacher, labels)]))
    assert_agrees(method.status()["threshold"], theirs["mu0"])
    method.on_epoch_start(6)
    assert_agrees(method.status()["threshold"], theirs["mu0"] - theirs["mu_step"])
    pacing = LinearPacing(theirs["mu0"], 150, 0.8, 5)
    assert_agrees(pacing.threshold(5) - pacing.threshold(6), theirs["mu_step"])
