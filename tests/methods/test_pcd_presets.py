"""One test for each difference between the paper and its released code, and one that there is no other."""

from dataclasses import asdict, replace

import pytest
import torch

from meddistill.losses import cross_entropy, kl_divergence
from meddistill.methods import Context, PacedDistillation
from meddistill.methods.pcd_presets import PRESETS
from meddistill.pacing import Boundary, LinearPacing, true_class_confidence
from meddistill.testing import make_batch, make_inputs

SHAPE = (3, 3, 9, 8)
STUDENT, LABELS, TEACHER = make_inputs(SHAPE)
BATCH = make_batch(LABELS)


def at(mu: float, cpl_mu: float = 0.5, *, epochs: int = 150, **options) -> PacedDistillation:
    """The method in its first epoch, with these thresholds and a confidence temperature of 2.51."""
    method = PacedDistillation(**{"mode": "tpl", **options})
    starts = {"threshold": mu, "cpl_threshold": cpl_mu}
    state = {"confidence_temperature": 2.51, "epochs": epochs, "starts": starts, "shares": [1.0]}
    method.load_state_dict(state)
    return method


def loss(method: PacedDistillation, images: slice = slice(None)) -> torch.Tensor:
    return method(STUDENT[images], make_batch(LABELS[images]), TEACHER[images])["loss"]


def per_pixel(reduction: str) -> torch.Tensor:
    k = kl_divergence(STUDENT, TEACHER, temperature=4.5, class_reduction=reduction)
    return k + cross_entropy(STUDENT, LABELS)


def mask(mu: float) -> torch.Tensor:
    return (true_class_confidence(TEACHER, LABELS, temperature=2.51) >= mu).double()


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Give the paper preset these settings of the reference preset."""
    chosen = {name: getattr(PRESETS["reference"], name) for name in names}
    monkeypatch.setitem(PRESETS, "paper", replace(PRESETS["paper"], **chosen))


def test_1_masks_are_broadcast_over_the_batch(monkeypatch):
    right = (mask(0.5) * per_pixel("sum")).mean()
    every_pair = (mask(0.5).unsqueeze(1) * per_pixel("sum")).mean()  # (B, 1, H, W) * (B, H, W)
    torch.testing.assert_close(loss(at(0.5)), right)
    only(monkeypatch, "masks")
    torch.testing.assert_close(loss(at(0.5)), every_pair)
    assert not torch.isclose(right, every_pair, rtol=1e-3)


def test_1_one_image_is_masked_alike(monkeypatch):
    paper = [loss(at(0.5, mode=mode), slice(0, 1)) for mode in ("tpl", "tpl_uncert", "cpl_tpl")]
    only(monkeypatch, "masks")
    released = [loss(at(0.5, mode=mode), slice(0, 1)) for mode in ("tpl", "tpl_uncert", "cpl_tpl")]
    torch.testing.assert_close(released, paper)


def test_1_the_soft_weight_is_not_broadcast_but_the_mask_beside_it_is(monkeypatch):
    soft_alone = loss(at(0.5, mode="cpl"))
    c = torch.where(mask(0.5) > 0, 1.0, 0.6)  # rising floor at 0.5
    inside = kl_divergence(STUDENT, TEACHER, temperature=4.5) + c * cross_entropy(STUDENT, LABELS)
    torch.testing.assert_close(loss(at(0.4, mode="cpl_tpl")), (mask(0.4) * inside).mean())
    only(monkeypatch, "masks")
    torch.testing.assert_close(loss(at(0.5, mode="cpl", cpl_beta=0.5)), inside.mean())
    assert torch.equal(loss(at(0.5, mode="cpl")), soft_alone)
    torch.testing.assert_close(loss(at(0.4, mode="cpl_tpl")), (mask(0.4).unsqueeze(1) * inside).mean())


def test_2_the_confidence_of_one_image_meets_the_boundary_of_another(monkeypatch):
    mu = 0.6
    u = (Boundary()(TEACHER, LABELS) >= mu).double()
    right = (mask(mu) * u * per_pixel("sum")).mean()
    every_pair = (mask(mu).unsqueeze(1) * u * per_pixel("sum")).mean()
    torch.testing.assert_close(loss(at(mu, mode="tpl_uncert")), right)
    only(monkeypatch, "masks")
    torch.testing.assert_close(loss(at(mu, mode="tpl_uncert")), every_pair)
    assert not torch.isclose(right, every_pair, rtol=1e-3)


def test_3_the_divergence_is_averaged_over_the_classes(monkeypatch):
    paper = at(0.5)(STUDENT, BATCH, TEACHER)
    only(monkeypatch, "class_reduction")
    released = at(0.5)(STUDENT, BATCH, TEACHER)
    torch.testing.assert_close(paper["kd"], 3 * released["kd"])
    assert torch.equal(paper["ce"], released["ce"])


def test_6_the_confidence_temperature_is_fitted_rather_than_fixed():
    paper, released = PacedDistillation(), PacedDistillation(preset="reference")
    assert paper.needs_teacher_temperature
    assert not released.needs_teacher_temperature
    context = Context(SHAPE[1], 10, lambda: [(TEACHER, LABELS)], teacher_temperature=1.3)
    for method, temperature in ((paper, 1.3), (released, 2.51)):
        method.prepare(context)
        assert method.state_dict()["confidence_temperature"] == temperature


def test_7_pcd_is_the_mode_with_boundary_uncertainty():
    assert PacedDistillation().mode == "tpl_uncert"
    without, with_boundary = at(0.7, mode="tpl"), at(0.7, mode="tpl_uncert")
    assert loss(with_boundary) < loss(without)


@pytest.mark.parametrize("preset", ["paper", "reference"])
def test_8_sums_are_divided_by_all_pixels_unless_asked_otherwise(preset):
    everything, selected = at(0.5, preset=preset), at(0.5, preset=preset, normalise="selected")
    assert everything.normalise == "all"
    torch.testing.assert_close(loss(everything), mask(0.5).mean() * loss(selected))


def test_9_the_weight_of_unsure_pixels_falls_instead_of_rising(monkeypatch):
    k, e = kl_divergence(STUDENT, TEACHER, temperature=4.5), cross_entropy(STUDENT, LABELS)

    def assert_floors(expected: dict[float, float]) -> None:
        for mu, floor in expected.items():
            c = torch.where(mask(mu) > 0, 1.0, floor)
            torch.testing.assert_close(loss(at(0.0, mu, mode="cpl", cpl_beta=0.5)), (k + c * e).mean())

    assert_floors({0.9: 0.2, 0.6: 0.5, 0.4: 0.7})
    only(monkeypatch, "floor")
    assert_floors({0.9: 0.8, 0.6: 0.5, 0.4: 0.3})


def test_10_the_step_of_the_soft_threshold_ignores_its_own_interval(monkeypatch):
    options = {"mode": "cpl_tpl", "every": 5, "cpl_every": 10, "gamma": 0.8, "cpl_gamma": 0.4}

    def steps() -> list[float]:
        method, course = at(0.6, 0.8, epochs=100, **options), []
        for epoch in (0, 11, 21):
            method.on_epoch_start(epoch)
            course.append(method.status()["cpl_threshold"])
        return [course[0] - course[1], course[1] - course[2]]

    assert steps() == pytest.approx([0.8 / (100 * 0.4 / 10)] * 2)
    only(monkeypatch, "cpl_step")
    assert steps() == pytest.approx([0.8 / (100 * 0.4 / 5)] * 2)


def test_10_the_logged_soft_threshold_is_its_own():
    status = at(0.6, 0.8, mode="cpl_tpl", preset="reference").status()
    assert (status["threshold"], status["cpl_threshold"]) == (0.6, 0.8)


@pytest.mark.parametrize("preset", ["paper", "reference"])
def test_11_a_shared_threshold_of_one_half_or_less_masks_no_boundary(preset):
    for mu, silent in ((0.3, True), (0.5, True), (0.51, False)):
        same = torch.equal(
            loss(at(mu, mode="tpl", preset=preset)), loss(at(mu, mode="tpl_uncert", preset=preset))
        )
        assert same == silent


def test_11_a_stretched_boundary_masks_until_the_end():
    shared, stretched = (at(0.2, mode="tpl_uncert", boundary=b) for b in ("shared", "stretched"))
    q = Boundary()(TEACHER, LABELS)
    assert (q < 0.6).any()
    assert loss(stretched) < loss(shared)
    u = (q >= 0.6).double()  # 2 q - 1 >= 0.2
    torch.testing.assert_close(loss(stretched), (mask(0.2) * u * per_pixel("sum")).mean())
    torch.testing.assert_close(
        loss(at(0.0, mode="tpl_uncert", boundary="stretched")), per_pixel("sum").mean()
    )


def test_13_the_centre_of_a_larger_kernel_is_looked_up_in_the_wrong_place(monkeypatch):
    lone = torch.zeros(1, 9, 9, dtype=torch.long)
    lone[0, 4, 4] = 1
    logits = torch.zeros(1, 2, 9, 9)
    for size in (3, 5):
        for centre, share in (("middle", 0.5), ("corner", {3: 0.5, 5: 0.5288}[size])):
            q = Boundary(size, centre=centre)(logits, lone)[0, 4, 4].item()
            assert q == pytest.approx(share, abs=5e-5)

    def losses(size: int) -> torch.Tensor:
        thresholds = [0.5 + 0.002 * i for i in range(1, 200)]
        return torch.stack([loss(at(mu, mode="tpl_uncert", kernel_size=size)) for mu in thresholds])

    paper = losses(3), losses(5)
    only(monkeypatch, "centre")
    released = losses(3), losses(5)
    assert torch.equal(paper[0], released[0])
    assert not torch.equal(paper[1], released[1])


def test_15_thresholds_do_not_change_the_options_and_alpha_is_used():
    method = at(0.6, mode="tpl", preset="reference", alpha=0.3)
    before = asdict(method)
    terms = method(STUDENT, BATCH, TEACHER)
    for epoch in (0, 50, 149, 3):
        method.on_epoch_start(epoch)
        assert method.status()["threshold"] == LinearPacing(0.6, 150, 0.8, 5).threshold(epoch)
    assert asdict(method) == before
    torch.testing.assert_close(terms["loss"], 0.3 * terms["kd"] + 0.7 * terms["ce"])


def test_shares_of_pixels_are_rounded_when_the_first_threshold_is_searched(monkeypatch):
    sure = torch.tensor([[-9.0, 0.0], [9.0, 1.0]]).T  # confidences near 1 and near 0.73
    teacher = sure[[0] * 7001 + [1] * 2999]
    context = Context(2, 10, lambda: [(teacher, torch.ones(10000, dtype=torch.long))], 1.0)

    def first_threshold() -> float:
        method = PacedDistillation(mode="tpl", beta=0.7)
        method.prepare(context)
        return method.status()["threshold"]

    assert first_threshold() == 0.999
    only(monkeypatch, "rounding")
    assert first_threshold() == 0.731


@pytest.mark.parametrize("mode", ["tpl", "tpl_uncert", "cpl", "cpl_tpl"])
def test_the_presets_differ_in_nothing_else(mode, monkeypatch):
    names = [
        name for name, value in vars(PRESETS["paper"]).items() if value != getattr(PRESETS["reference"], name)
    ]
    assert names == [
        "class_reduction",
        "confidence_temperature",
        "masks",
        "floor",
        "cpl_step",
        "centre",
        "rounding",
    ]
    options = {"mode": mode, "weights_to": "both", "kernel_size": 5, "cpl_every": 3}
    context = Context(SHAPE[1], 30, lambda: [(TEACHER, LABELS)])
    only(monkeypatch, *names)
    methods = [PacedDistillation(preset=preset, **options) for preset in ("paper", "reference")]
    for method in methods:
        method.prepare(context)
    for epoch in (0, 6, 12, 29):
        for method in methods:
            method.on_epoch_start(epoch)
        assert methods[0].status() == methods[1].status()
        assert torch.equal(loss(methods[0]), loss(methods[1]))
