"""One test for each difference between the paper and its released code, and one that there is no other."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from meddistill.losses import IGNORE_INDEX, kl_divergence, partial_cross_entropy, prediction_entropy
from meddistill.methods import MixedSupervision
from meddistill.methods.confkd_presets import PRESETS
from tests.methods.mixtures import both_logits, mixture, network, where

BATCH = mixture()
FULL = where(BATCH, "full")
UPPER, LOWER = both_logits(BATCH)


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Give the paper preset these settings of the reference preset."""
    chosen = {name: getattr(PRESETS["reference"], name) for name in names}
    monkeypatch.setitem(PRESETS, "paper", replace(PRESETS["paper"], **chosen))


def terms(upper=UPPER, lower=LOWER, **options):
    answer = both_logits(BATCH)._replace(upper=upper, lower=lower)
    return MixedSupervision(**options)(answer, BATCH)


def test_1_probabilities_are_softened_instead_of_logits(monkeypatch):
    clean = terms()["kd"]
    only(monkeypatch, "softened")
    flat = kl_divergence(LOWER[FULL].softmax(1), UPPER.softmax(1), temperature=2.0).mean()
    torch.testing.assert_close(terms()["kd"], flat)
    assert flat < clean / 10


def test_2_the_divergence_is_measured_the_other_way_round(monkeypatch):
    only(monkeypatch, "direction")
    torch.testing.assert_close(terms()["kd"], kl_divergence(UPPER, LOWER[FULL], temperature=2.0).mean())


def test_2_it_is_averaged_over_the_classes_and_halved(monkeypatch):
    paper = terms()["kd"]
    only(monkeypatch, "reduction")
    torch.testing.assert_close(terms()["kd"], paper / 3)
    only(monkeypatch, "factor", "reduction")
    torch.testing.assert_close(terms()["kd"], paper / 6)


@pytest.mark.parametrize("direction", ["upper_to_lower", "lower_to_upper"])
def test_3_the_upper_branch_is_pulled_towards_the_lower_one(monkeypatch, direction):
    monkeypatch.setitem(PRESETS, "paper", replace(PRESETS["paper"], direction=direction))
    method = MixedSupervision(w_weak=0.0, w_ent=0.0)

    def gradients():
        upper, lower = UPPER.clone().requires_grad_(), LOWER[FULL].clone().requires_grad_()
        answer = both_logits(BATCH)._replace(upper=upper, lower=lower)
        loss = method(answer, BATCH)["loss"] - partial_cross_entropy(upper, BATCH["label"][FULL])
        return torch.autograd.grad(loss, [upper, lower])

    held, own = gradients()
    assert held.abs().max() < 1e-12
    only(monkeypatch, "detach")
    monkeypatch.setitem(PRESETS, "paper", replace(PRESETS["paper"], direction=direction))
    pulled, moved = gradients()
    assert pulled.abs().max() > 1e-4
    torch.testing.assert_close(moved, own)


def test_4_fully_labelled_images_count_three_times_in_the_entropy(monkeypatch):
    entropy = prediction_entropy(LOWER)
    torch.testing.assert_close(terms()["entropy"], entropy.mean())
    only(monkeypatch, "full_counts")
    thrice = torch.cat([entropy[FULL], entropy[FULL], entropy]).mean()
    torch.testing.assert_close(terms()["entropy"], thrice)
    only(monkeypatch, "full_counts", "reduction")
    torch.testing.assert_close(terms()["entropy"], thrice / 3)


def test_5_both_decoders_run_on_all_images_and_twice_on_the_full_ones(monkeypatch):
    batch = mixture((5, 3, 16, 16))
    full = where(batch, "full")
    student, seen = network("dual_decoder"), []
    student.encoder[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    means = [m for m in student.upper.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    method = MixedSupervision()
    needed = method.answer(student, batch)
    statistics = means[0].running_mean.clone()
    student = network("dual_decoder")
    student.encoder[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    only(monkeypatch, "images")
    repeated = method.answer(student, batch)
    image = batch["image"]
    assert torch.equal(seen[0], image)
    assert torch.equal(seen[1], torch.cat([image[full], image[full], image[~full]]))
    assert [len(part) for part in repeated] == [len(part) for part in needed]
    assert not torch.allclose(repeated.upper, needed.upper)
    means = [m for m in student.upper.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not torch.allclose(means[0].running_mean, statistics)


def test_5_without_batch_statistics_and_dropout_the_numbers_are_the_same(monkeypatch):
    batch, student = mixture((5, 3, 16, 16)), network("dual_decoder").eval()
    for options in ({}, {"kd_on": "all"}, {"w_weak": 0.0, "ent_on": "weak", "kd_on": "weak"}):
        method = MixedSupervision(**options)
        needed = method.answer(student, batch)
        with monkeypatch.context() as patch:
            only(patch, "images")
            torch.testing.assert_close(method.answer(student, batch), needed)


def test_6_only_labelled_foreground_counts(monkeypatch):
    only(monkeypatch, "labelled")
    foreground = BATCH["weak"].masked_fill(BATCH["weak"] == 0, IGNORE_INDEX)
    torch.testing.assert_close(terms()["weak"], partial_cross_entropy(LOWER, foreground))
    assert (BATCH["weak"] == 0).any()


def test_6_full_and_weak_images_have_a_mean_each(monkeypatch):
    only(monkeypatch, "means")
    apart = sum(partial_cross_entropy(LOWER[rows], BATCH["weak"][rows]) for rows in (FULL, ~FULL))
    torch.testing.assert_close(terms()["weak"], apart)
    one = MixedSupervision(weak_on="weak")(both_logits(BATCH), BATCH)["weak"]
    torch.testing.assert_close(one, partial_cross_entropy(LOWER[~FULL], BATCH["weak"][~FULL]))


def test_the_weight_of_the_divergence_belongs_to_its_scale():
    assert MixedSupervision().kd_weight == 1.0
    assert MixedSupervision(preset="reference").kd_weight == 50.0
    assert MixedSupervision(preset="reference", w_kd=20.0).kd_weight == 20.0


def test_the_reference_is_the_released_formula():
    """Written out as the code has it, on a batch of both kinds."""
    p, q = (x.softmax(1) for x in (UPPER, LOWER[FULL]))
    kd = F.kl_div((p / 2).log_softmax(1), (q / 2).softmax(1), reduction="none").mean() * 0.5 * 4
    kept = torch.cat([LOWER[FULL], LOWER[FULL], LOWER]).softmax(1)  # B[B:2B] beside all of B
    entropy = -(kept * kept.log()).mean()
    weak = 0.0
    for rows in (FULL, ~FULL):
        mask = (BATCH["weak"][rows] > 0).double()
        own = LOWER[rows].softmax(1).gather(1, BATCH["weak"][rows].clamp(min=0).unsqueeze(1)).squeeze(1)
        weak = weak - (mask * (own + 1e-20).log()).sum() / (mask.sum() + 1e-20)
    expected = F.cross_entropy(UPPER, BATCH["label"][FULL]) + 0.1 * weak + 50 * kd + entropy
    torch.testing.assert_close(terms(preset="reference")["loss"], expected)


def test_the_presets_differ_in_nothing_else(monkeypatch):
    names = [
        name for name, value in vars(PRESETS["paper"]).items() if value != getattr(PRESETS["reference"], name)
    ]
    assert names == [
        "w_kd",
        "softened",
        "direction",
        "reduction",
        "factor",
        "detach",
        "full_counts",
        "images",
        "labelled",
        "means",
    ]
    only(monkeypatch, *names)
    batch = mixture((5, 3, 16, 16))
    losses = []
    for preset in ("paper", "reference"):
        method, student = MixedSupervision(preset=preset, kd_on="all", dice=0.2), network("dual_decoder")
        method.on_epoch_start(7)
        losses.append(method(method.answer(student, batch), batch))
        assert method.status() == {}
    assert losses[0].keys() == losses[1].keys()
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])
