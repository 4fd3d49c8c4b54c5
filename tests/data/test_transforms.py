import pickle

import pytest
import torch

from meddistill.data import IGNORE_INDEX, CaseCache, CaseDataset, FolderSource, make_loader
from meddistill.data.transforms import PRESETS, Augmentation, JointTransform, make_transform
from meddistill.errors import ConfigError
from tests.data.builders import busi_tree


def sample(dims, side=8, classes=3):
    """An image that shows its own label, so that both must move alike, and logits that repeat both."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, classes, (side,) * dims, generator=generator)
    label[(0,) * dims] = IGNORE_INDEX
    image = (label.clamp(min=0).float() / classes)[None]
    return {"image": image, "label": label, "teacher_logits": torch.cat([image, 10 * image])}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("augmentation", [Augmentation(flip=0.5), Augmentation(flip=0.5, quarter_turns=0.8)])
def test_flips_and_quarter_turns_move_everything_exactly_alike(dims, augmentation):
    transform = make_transform(augmentation, dims)
    given = sample(dims)
    seen = set()
    for seed in range(150):
        changed = transform(given, seed)
        known = changed["label"] != IGNORE_INDEX
        assert (~known).sum() == 1
        assert torch.equal(changed["image"][0][known], changed["label"][known] / 3)
        assert torch.equal(changed["teacher_logits"], torch.cat([changed["image"], 10 * changed["image"]]))
        seen.add(tuple(changed["label"].flatten().tolist()))
    assert len(seen) == 2**dims * (2 if augmentation.quarter_turns else 1)


def test_a_certain_flip_turns_every_axis():
    given = sample(2)
    changed = make_transform(Augmentation(flip=1), 2)(given, 0)
    assert torch.equal(changed["label"], given["label"].flip(0, 1))
    assert torch.equal(changed["image"], given["image"].flip(1, 2))


@pytest.mark.parametrize("dims", [2, 3])
def test_photometric_changes_touch_the_image_alone(dims):
    transform = make_transform(Augmentation(gamma=2, noise=0.1, blur=1, photometric=1), dims)
    given = sample(dims)
    changed = transform(given, 3)
    assert torch.equal(changed["label"], given["label"])
    assert torch.equal(changed["teacher_logits"], given["teacher_logits"])
    assert not torch.allclose(changed["image"], given["image"], atol=0.05)
    assert changed["image"].min() >= 0
    assert changed["image"].max() <= 1


@pytest.mark.parametrize("dims", [2, 3])
def test_affine_moves_label_and_logits_with_the_image(dims):
    coordinates = torch.meshgrid(*[torch.arange(24.0)] * dims, indexing="ij")
    ball = sum((axis - 13) ** 2 for axis in coordinates) < 36
    image = ball.float()[None]
    transform = make_transform(Augmentation(rotate=20, zoom=0.2, shear=0.1), dims)
    moved = 0
    for seed in range(5):
        changed = transform({"image": image, "label": ball.long(), "teacher_logits": 8 * image}, seed)
        known = changed["label"] != IGNORE_INDEX
        assert set(changed["label"].unique().tolist()) <= {0, 1, IGNORE_INDEX}
        wrong = ((changed["image"][0] > 0.5) != (changed["label"] == 1))[known]
        assert wrong.float().mean() < 0.02
        assert torch.allclose(changed["teacher_logits"], 8 * changed["image"], atol=1e-5)
        moved += not torch.equal(changed["label"], ball.long())
    assert moved == 5


def test_what_comes_in_from_outside_is_black_and_ignored():
    given = {"image": torch.ones(1, 32, 32), "label": torch.ones(32, 32, dtype=torch.long)}
    transform = make_transform(Augmentation(rotate=45), 2)
    changed = next(c for c in (transform(given, seed) for seed in range(50)) if (c["label"] != 1).sum() > 40)
    outside = changed["label"] == IGNORE_INDEX
    assert set(changed["label"].unique().tolist()) == {IGNORE_INDEX, 1}
    assert changed["label"][0, 0] == IGNORE_INDEX
    assert changed["image"][0][outside].max() <= 0.5
    assert "teacher_logits" not in changed


@pytest.mark.parametrize("name", ["flip", "light", "medium"])
@pytest.mark.parametrize("dims", [2, 3])
def test_presets_are_deterministic_by_seed_and_leave_the_input_alone(name, dims):
    given = sample(dims, side=12)
    before = {key: value.clone() for key, value in given.items()}
    first, second = make_transform(name, dims), pickle.loads(pickle.dumps(make_transform(name, dims)))  # noqa: S301
    images = []
    for seed in (1, 2, 3, 2**32 - 1):
        torch.manual_seed(seed)
        ours, theirs = first(given, seed), second(given, seed)
        assert all(torch.equal(ours[key], theirs[key]) for key in given)
        assert (type(ours["image"]), ours["label"].dtype) == (torch.Tensor, torch.int64)
        assert ours["image"].shape == given["image"].shape
        images.append(ours["image"])
    assert any(not torch.equal(images[0], image) for image in images[1:])
    assert all(torch.equal(given[key], before[key]) for key in given)


def test_the_global_setting_of_monai_is_put_back():
    from monai.data import get_track_meta

    make_transform("flip", 2)(sample(2), 0)
    assert get_track_meta() is True


def test_workers_change_nothing(tmp_path):
    source = FolderSource(busi_tree(tmp_path))
    dataset = CaseDataset(
        CaseCache(source, source.cases, size=12), transform=make_transform("medium", 2), seed=1
    )
    serial, parallel = (
        list(make_loader(dataset, batch_size=4, shuffle=True, seed=2, workers=workers)) for workers in (0, 2)
    )
    for ours, theirs in zip(serial, parallel, strict=True):
        assert torch.equal(ours["image"], theirs["image"])
        assert torch.equal(ours["label"], theirs["label"])


def test_none_makes_no_transform():
    assert make_transform("none", 2) is None
    assert make_transform(Augmentation(), 3) is None
    assert set(PRESETS) == {"none", "flip", "light", "medium"}


def test_wrong_arguments():
    with pytest.raises(ConfigError, match="unknown augmentation 'mediun'; did you mean 'medium'"):
        make_transform("mediun", 2)
    with pytest.raises(ConfigError, match="dims must be 2 or 3, not 4"):
        JointTransform(Augmentation(flip=1), 4)
    with pytest.raises(ConfigError, match=r"quarter turns need a square plane, not .4, 5."):
        make_transform(Augmentation(quarter_turns=1), 2)(
            {"image": torch.zeros(1, 4, 5), "label": torch.zeros(4, 5, dtype=torch.long)}, 0
        )
    for wrong in ({"flip": 1.5}, {"gamma": 0.5}, {"noise": -1}, {"zoom": 1}, {"rotate": float("nan")}):
        with pytest.raises(ConfigError, match=f"augmentation: {next(iter(wrong))} must lie in"):
            Augmentation(**wrong)
