"""The own corruptions against what their formulas say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from meddistill.evaluation.corruptions import corrupt, general, mr, ultrasound

FLAT = np.full((1, 128, 128), 0.5, np.float32)


def test_speckle_grows_with_the_square_root_of_the_echo():
    dark, bright = (corrupt(np.full_like(FLAT, level), "speckle", 1, seed=0).std() for level in (0.09, 0.36))
    assert bright / dark == pytest.approx(2, rel=0.02)
    assert bright == pytest.approx(ultrasound.SPECKLE[0] * 0.6, rel=0.02)


def test_gain_is_given_in_decibels_and_black_stays_black():
    image = FLAT.copy()
    image[:, :10] = 0
    both = {float(corrupt(image, "gain", 2, seed=seed)[0, 64, 64]) for seed in range(8)}
    assert sorted(both) == pytest.approx([0.4, 0.6])
    assert corrupt(image, "gain", 2, seed=0)[:, :10].max() == 0


def test_a_shadow_lies_below_its_start_and_keeps_its_place():
    weak, strong = (1 - corrupt(FLAT, "shadow", severity, seed=3)[0] / 0.5 for severity in (1, 5))
    assert weak.max() == pytest.approx(ultrasound.SHADOW_DEPTH[0], abs=1e-3)
    assert strong[0].max() < 0.05
    assert abs(int(weak[-1].argmax()) - int(strong[-1].argmax())) <= 1
    assert (strong >= weak - 1e-6).all()


def test_the_bias_field_is_smooth_and_as_large_as_stated():
    field = np.log(corrupt(FLAT * 0.2, "bias_field", 3, seed=1)[0] / 0.1)
    assert np.abs(field).max() == pytest.approx(mr.BIAS[2], rel=1e-3)
    assert np.abs(np.diff(field, axis=0)).max() < 0.1
    np.testing.assert_allclose(np.diff(field, n=4, axis=1), 0, atol=1e-4)  # degree 3


def test_motion_makes_ghosts_along_the_phase_encoding_axis_alone():
    image = np.zeros((1, 64, 64), np.float32)
    image[:, 32, 20] = 1
    made = corrupt(image, "motion_ghosting", 2, seed=0)[0]
    assert made[32, 20] == made.max() < 1
    assert made[:, 20].sum() > 1.2
    assert np.delete(made, 20, axis=1).max() < 1e-5


def test_a_still_image_has_no_ghosts(monkeypatch):
    monkeypatch.setattr(mr, "MOTION", (0.0,) * 5)
    image = np.random.default_rng(0).random((1, 32, 31), dtype=np.float32)
    np.testing.assert_allclose(corrupt(image, "motion_ghosting", 1, seed=0), image, atol=1e-6)


def test_rician_noise_has_the_mean_of_a_rayleigh_distribution_in_the_dark():
    made = corrupt(np.zeros_like(FLAT), "rician_noise", 2, seed=0)
    assert made.mean() == pytest.approx(mr.NOISE[1] * math.sqrt(math.pi / 2), rel=0.02)


def test_low_dose_noise_is_that_of_counted_photons():
    made = corrupt(FLAT, "low_dose_noise", 1, seed=0)
    photons = general.PHOTONS[0] * math.exp(-general.ATTENUATION * 0.5)
    assert made.std() == pytest.approx(1 / general.ATTENUATION / math.sqrt(photons), rel=0.03)
    assert made.mean() == pytest.approx(0.5, abs=0.01)


def test_fine_structure_is_lost_and_coarse_is_kept():
    stripes = np.tile(np.array([0, 1], np.float32), 64)
    fine, coarse = (np.broadcast_to(values, FLAT.shape) for values in (stripes, np.repeat(stripes[:4], 32)))
    assert corrupt(fine, "resolution_loss", 2, seed=0).std() < 0.01
    assert corrupt(coarse, "resolution_loss", 2, seed=0).std() > 0.45
