"""Mixed supervision: its terms, where they apply, and what each branch learns from them."""

import numpy as np
import pytest
import torch

from meddistill.data import phantom_case
from meddistill.errors import ConfigError
from meddistill.losses import (
    IGNORE_INDEX,
    kl_divergence,
    partial_cross_entropy,
    prediction_entropy,
    soft_dice_loss,
)
from meddistill.methods import Decoupled, HardPseudoLabels, MixedSupervision, with_rows
from meddistill.models import DualLogits, ModelSpec
from meddistill.testing import MethodTestCase, make_batch, make_inputs
from tests.methods.mixtures import both_logits, mixture, network, where


class TestMixedSupervision(MethodTestCase):
    uses_labels = False
    learns_from_labels_alone = False

    def make_method(self):
        return MixedSupervision()

    def answer(self, student_logits, other_logits):
        return DualLogits(other_logits, student_logits)


class TestHardPseudoLabels(TestMixedSupervision):
    def make_method(self):
        return HardPseudoLabels(dice=0.5)


class TestDecoupled(MethodTestCase):
    def make_method(self):
        return Decoupled()

    def answer(self, student_logits, other_logits):
        return DualLogits(student_logits, student_logits)


def test_the_terms_are_those_of_the_paper():
    batch = mixture()
    answer, full = both_logits(batch), where(batch, "full")
    terms = MixedSupervision(dice=0.3)(answer, batch)
    upper, lower = answer
    strong = partial_cross_entropy(upper, batch["label"][full])
    strong = strong + 0.3 * soft_dice_loss(upper, batch["label"][full])
    torch.testing.assert_close(terms["strong"], strong)
    torch.testing.assert_close(terms["weak"], partial_cross_entropy(lower, batch["weak"]))
    torch.testing.assert_close(terms["kd"], kl_divergence(lower[full], upper, temperature=2.0).mean())
    torch.testing.assert_close(terms["entropy"], prediction_entropy(lower).mean())
    total = terms["strong"] + 0.1 * terms["weak"] + terms["kd"] + terms["entropy"]
    torch.testing.assert_close(terms["loss"], total)


@pytest.mark.parametrize("part", ["full", "weak", "all"])
def test_each_term_applies_where_it_is_told(part):
    batch = mixture()
    chosen, known = where(batch, part), where(batch, "full")
    whole = both_logits(batch, upper="all")
    method = MixedSupervision(kd_on=part, ent_on=part, weak_on=part)
    answer = DualLogits(
        whole.upper[where(batch, method.upper_on)], whole.lower[where(batch, method.lower_on)]
    )
    terms = method(answer, batch)
    torch.testing.assert_close(
        terms["kd"], kl_divergence(whole.lower[chosen], whole.upper[chosen], temperature=2.0).mean()
    )
    torch.testing.assert_close(terms["entropy"], prediction_entropy(whole.lower[chosen]).mean())
    torch.testing.assert_close(
        terms["weak"], partial_cross_entropy(whole.lower[chosen], batch["weak"][chosen])
    )
    torch.testing.assert_close(
        terms["strong"], partial_cross_entropy(whole.upper[known], batch["label"][known])
    )


@pytest.mark.parametrize(
    ("options", "upper_on", "lower_on"),
    [
        ({}, "full", "all"),
        ({"kd_on": "weak"}, "all", "all"),
        ({"kd_on": "all"}, "all", "all"),
        ({"kd_on": "all", "w_kd": 0.0}, "full", "all"),
        ({"w_kd": 0.0, "w_ent": 0.0, "weak_on": "weak"}, "full", "weak"),
        ({"w_weak": 0.0, "w_ent": 0.0}, "full", "full"),
        ({"w_weak": 0.0, "ent_on": "full"}, "full", "full"),
        ({"w_weak": 0.0, "w_kd": 0.0, "w_ent": 0.0}, "full", "all"),
    ],
)
def test_each_branch_answers_the_images_that_its_terms_need(options, upper_on, lower_on):
    method, batch = MixedSupervision(**options), mixture((5, 3, 16, 16))
    assert (method.upper_on, method.lower_on) == (upper_on, lower_on)
    counts = {"full": 2, "weak": 3, "all": 5}
    upper, lower = method.answer(network("dual_decoder"), batch)
    assert (len(upper), len(lower)) == (counts[upper_on], counts[lower_on])
    assert method(DualLogits(upper, lower), batch)["loss"].isfinite()


def test_kl_alone_and_kl_with_entropy_are_options():
    batch = mixture()
    answer = both_logits(batch)
    alone = MixedSupervision(w_ent=0.0)(answer, batch)
    assert set(alone) == {"loss", "strong", "weak", "kd"}
    both = MixedSupervision()(answer, batch)
    torch.testing.assert_close(both["loss"] - both["entropy"], alone["loss"])


def gradients(method, *, teach_upper: bool = False):
    """Largest gradient in each part of the network; without full masks nothing teaches the upper branch."""
    batch, student = mixture((5, 3, 16, 16)), network("dual_decoder")
    if not teach_upper:
        batch["label"] = torch.full_like(batch["label"], IGNORE_INDEX)
    method(method.answer(student, batch), batch)["loss"].backward()
    parts = {"encoder": student.encoder, "upper": student.upper, "lower": student.lower}
    return {
        name: max((float(p.grad.abs().max()) for p in part.parameters() if p.grad is not None), default=0.0)
        for name, part in parts.items()
    }


@pytest.mark.parametrize("kd_on", ["full", "weak", "all"])
@pytest.mark.parametrize("term", ["w_kd", "w_ent"])
def test_the_upper_decoder_learns_nothing_from_divergence_and_entropy(term, kd_on):
    weights = {"w_weak": 0.0, "w_kd": 0.0, "w_ent": 0.0, term: 1.0}
    found = gradients(MixedSupervision(**weights, kd_on=kd_on))
    assert found["upper"] == 0.0
    assert found["encoder"] > 0.0
    assert found["lower"] > 0.0


def test_in_the_released_code_the_divergence_teaches_the_upper_decoder_too():
    weights = {"w_weak": 0.0, "w_ent": 0.0}
    assert gradients(MixedSupervision(preset="reference", **weights))["upper"] > 0.0
    released = gradients(MixedSupervision(preset="reference", w_weak=0.0, w_kd=0.0))
    assert released["upper"] == 0.0  # the entropy is that of the lower branch alone


def test_full_masks_teach_the_encoder_and_the_upper_decoder():
    found = gradients(MixedSupervision(w_weak=0.0, w_kd=0.0, w_ent=0.0), teach_upper=True)
    assert found["upper"] > 0.0
    assert found["encoder"] > 0.0
    assert found["lower"] == 0.0


def test_every_weight_gets_a_gradient_in_a_mixed_batch():
    batch, student = with_rows(mixture((5, 3, 16, 16))), network("dual_decoder")
    method = MixedSupervision()
    method(method.answer(student, batch), batch)["loss"].backward()
    assert all(p.grad is not None for p in student.parameters())


def test_a_fully_labelled_batch_has_its_label_for_a_weak_one():
    batch = make_batch(make_inputs((4, 3, 8, 7))[1])
    mixed = {**batch, "full": torch.ones(4, dtype=torch.bool), "weak": batch["label"]}
    answer = both_logits(mixed, upper="all")
    torch.testing.assert_close(MixedSupervision()(answer, batch), MixedSupervision()(answer, mixed))


@pytest.mark.parametrize("method", [MixedSupervision(), MixedSupervision(preset="reference", kd_on="all")])
@pytest.mark.parametrize("full", [(), (0, 1, 2, 3, 4)])
def test_a_batch_of_one_kind_gives_a_finite_loss(method, full):
    batch = mixture((5, 3, 16, 16), full)
    terms = method(method.answer(network("dual_decoder"), batch), batch)
    assert all(term.isfinite() for term in terms.values())
    if not full:
        assert terms["strong"] == 0.0
    terms["loss"].backward()


def test_hard_pseudo_labels_bound_the_entropy():
    batch = mixture()
    answer = both_logits(batch)
    hard, soft = HardPseudoLabels()(answer, batch), MixedSupervision()(answer, batch)
    own = -answer.lower.log_softmax(1).amax(1).mean()
    torch.testing.assert_close(hard["pseudo"], own)
    assert hard["pseudo"] < soft["entropy"]
    assert "entropy" not in hard
    torch.testing.assert_close(hard["loss"] - hard["pseudo"], soft["loss"] - soft["entropy"])


@pytest.mark.parametrize("part", ["weak", "all"])
def test_decoupled_branches_share_no_term(part):
    batch = mixture()
    method = Decoupled(w_weak=0.5, weak_on=part)
    answer = both_logits(batch, lower=part)
    terms = method(answer, batch)
    assert set(terms) == {"loss", "strong", "weak"}
    expected = partial_cross_entropy(answer.lower, batch["weak"][where(batch, part)])
    torch.testing.assert_close(terms["loss"], terms["strong"] + 0.5 * expected)
    upper, lower = method.answer(network("dual_decoder"), mixture((5, 3, 16, 16)))
    assert (len(upper), len(lower)) == (2, {"weak": 3, "all": 5}[part])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "papre"}, "unknown preset 'papre'; did you mean 'paper'"),
        ({"temperature": 0}, "temperature must be a number above 0, got 0"),
        ({"kd_on": "strong"}, "unknown kd_on 'strong'; known: all, full, weak"),
        ({"ent_on": "al"}, "unknown ent_on 'al'; did you mean 'all'"),
        ({"w_kd": -1}, "w_kd must be a number of 0 or more, got -1"),
        ({"w_weak": float("nan")}, "w_weak must be a number of 0 or more, got nan"),
        ({"dice": "1"}, "dice must be a number of 0 or more, got '1'"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MixedSupervision(**options)


# The trivial solution


def phantoms(count: int = 8):
    """Phantoms with the middle of each lesion for a weak label, and no background pixel labelled."""
    cases = [phantom_case((5, i), size=(32, 32), clarity=1.0, lesions=1) for i in range(count)]
    image = torch.stack([torch.from_numpy(image) for image, _ in cases]).float() / 255
    label = torch.from_numpy(np.stack([label for _, label in cases])).long()
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    weak = torch.full_like(label, IGNORE_INDEX)
    for each, mask in zip(weak, label, strict=True):
        inside = mask == 1
        distance = (rows - rows[inside].mean()).square() + (columns - columns[inside].mean()).square()
        each[inside & (distance <= 4)] = 1
    full = torch.arange(count) < 4
    return {
        **make_batch(torch.where(full.view(-1, 1, 1), label, weak)),
        "image": image,
        "full": full,
        "weak": weak,
    }, label


def foreground_after_training(method) -> tuple[float, float]:
    """Share of the pixels that the lower branch calls lesion, and its Dice, after some dozen steps."""
    batch, label = phantoms()
    torch.manual_seed(0)
    options = {"channels": (8, 16, 32), "norm": None}
    student = ModelSpec("monai/unet", options=options, form="dual_decoder").build()
    optimiser = torch.optim.Adam(student.parameters(), lr=0.003)
    for _ in range(90):
        optimiser.zero_grad()
        method(method.answer(student, batch), batch)["loss"].backward()
        optimiser.step()
    with torch.no_grad():
        found = student(batch["image"]).argmax(1)
    dice = 2 * ((found == 1) & (label == 1)).sum() / ((found == 1).sum() + (label == 1).sum())
    return float(found.float().mean()), float(dice)


def test_foreground_seeds_alone_call_everything_foreground_and_the_divergence_prevents_it():
    everything, _ = foreground_after_training(Decoupled(w_weak=1.0))
    assert everything > 0.99
    share, dice = foreground_after_training(MixedSupervision(w_weak=0.1, w_ent=0.0))
    true = float((phantoms()[1] == 1).float().mean())
    assert share < 2 * true < 0.5
    assert dice > 0.6
