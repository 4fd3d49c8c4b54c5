"""Images that something is done to on their way to a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from meddistill.evaluation.attacks import fgsm, pgd
from meddistill.evaluation.disturbance import Disturbance, Disturbed, fgsm_attack, pgd_attack


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()


def batches(sizes, count=6):
    generator = torch.Generator().manual_seed(1)
    image = 0.2 + 0.6 * torch.rand(count, 1, 8, 8, generator=generator)
    label = torch.randint(2, (count, 8, 8), generator=generator)
    rows = torch.arange(count).split(sizes)
    return [
        {"image": image[r], "label": label[r], "case_id": [f"case {n}" for n in r.tolist()]} for r in rows
    ]


def seen(disturbance, sizes):
    return torch.cat([batch["image"] for batch in Disturbed(batches(sizes), network(), disturbance)])


@pytest.mark.parametrize("disturbance", [fgsm_attack(2), pgd_attack(2), pgd_attack(4, steps=3, seed=5)])
def test_batches_do_not_matter(disturbance):
    """The random start of a case is its own; what is left are the last bits of the gradient."""
    whole, parts = seen(disturbance, [6]), seen(disturbance, [1, 4, 1])
    assert (whole - parts).abs().gt(1e-6).float().mean() < 0.01


def test_the_random_start_is_of_the_case_and_the_seed():
    def still(seed):
        return pgd_attack(8, steps=1, step_size=1e-9, seed=seed)

    first, again, other = (seen(still(seed), [6]) for seed in (0, 0, 1))
    image = batches([6])[0]["image"]
    assert torch.equal(first, again)
    change = (first - image) * 255
    assert not torch.allclose(first, other, atol=1e-4)
    assert not torch.allclose(change[0], change[1], atol=0.01)
    assert 7 < change.abs().max() <= 8 + 1e-3
    torch.testing.assert_close(seen(still(0), [2, 4]), first)


def test_strengths_are_grey_levels():
    [batch] = batches([6])
    shown = fgsm_attack(3).change(network(), batch)
    torch.testing.assert_close(shown, fgsm(network(), batch["image"], batch["label"], eps=3 / 255))
    plain = pgd_attack(3, steps=4, step_size=1.0, random_start=False).change(network(), batch)
    options = {"eps": 3 / 255, "steps": 4, "step_size": 1 / 255, "random_start": False}
    torch.testing.assert_close(plain, pgd(network(), batch["image"], batch["label"], **options))


def test_batches_are_changed_one_at_a_time_and_left_as_they_were():
    asked = []

    def darker(_, batch):
        asked.append(batch["case_id"])
        return batch["image"] / 2

    given = batches([2, 2, 2])
    before = [batch["image"].clone() for batch in given]
    shown = Disturbed(given, network(), Disturbance("dark", 1, darker))
    assert len(shown) == 3
    first = next(iter(shown))
    assert asked == [["case 0", "case 1"]]
    torch.testing.assert_close(first["image"], before[0] / 2)
    assert all(torch.equal(batch["image"], image) for batch, image in zip(given, before, strict=True))
