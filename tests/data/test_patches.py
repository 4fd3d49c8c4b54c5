import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.config.load import check_recipe
from meddistill.data.case import IGNORE_INDEX, Case
from meddistill.data.dataset import make_loader
from meddistill.data.patches import PatchCache, PatchDataset, VoxelFile
from meddistill.data.supervision import Supervision
from meddistill.data.transforms import make_transform
from meddistill.data.weak import CentralDisc
from meddistill.errors import ConfigError
from tests.recipes import tiny

PATCH = (4, 6, 5)


class Volumes:
    """Volumes of different sizes whose voxels say where they are."""

    class_names = ("background", "one", "two")
    in_channels = 2
    dims = 3

    def __init__(self, shapes, boxes=None):
        self.shapes = shapes
        self.boxes = boxes or {}
        self.cases = tuple(Case(str(index)) for index in range(len(shapes)))

    def read_image(self, case):
        shape = self.shapes[int(case.id)]
        values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 10000 + 0.1
        return np.stack([values, 1 - values])

    def read_label(self, case):
        label = np.zeros(self.shapes[int(case.id)], np.int16)
        for value, box in self.boxes.get(int(case.id), {}).items():
            label[tuple(slice(*ends) for ends in box)] = value
        return label


def cache(shapes, boxes=None, patch=PATCH):
    source = Volumes(shapes, boxes)
    return PatchCache(source, source.cases, patch=patch)


@given(st.data())
@settings(max_examples=40)
def test_a_file_gives_back_any_part_of_any_volume(data):
    shapes = data.draw(st.lists(st.tuples(*[st.integers(1, 6)] * 3), min_size=1, max_size=4))
    channels = data.draw(st.sampled_from([None, 1, 3]))
    rng = np.random.default_rng(0)
    volumes = [
        torch.from_numpy(rng.integers(0, 99, ((channels,) if channels else ()) + shape).astype(np.int16))
        for shape in shapes
    ]
    file = VoxelFile(shapes, channels=channels, dtype="int16")
    for index, volume in enumerate(volumes):
        file.write(index, volume)
    index = data.draw(st.integers(0, len(shapes) - 1))
    where = []
    for length in shapes[index]:
        start = data.draw(st.integers(0, length - 1))
        where.append(slice(start, data.draw(st.integers(start + 1, length))))
    torch.testing.assert_close(file.crop(index, where), volumes[index][(..., *where)])
    torch.testing.assert_close(file.read([index])[0], volumes[index])


def test_a_crop_is_the_part_of_the_volume_that_it_says():
    volumes = cache([(9, 8, 7), (20, 10, 30)], {1: {1: ((12, 15), (4, 7), (20, 22))}})
    crop = volumes.crop(1, (11, 3, 19))
    image = torch.from_numpy(volumes.source.read_image(volumes.cases[1]))
    torch.testing.assert_close(crop["image"], image[:, 11:15, 3:9, 19:24])
    label = torch.from_numpy(volumes.source.read_label(volumes.cases[1]))
    torch.testing.assert_close(crop["label"], label[11:15, 3:9, 19:24])
    assert (crop["label"] == 1).sum() == 3 * 3 * 2


def test_what_lies_beyond_a_small_volume_is_its_minimum_and_no_label():
    volumes = cache([(3, 8, 2)])
    image, label = volumes.read(0)
    assert image.shape == (2, *PATCH)
    inside = torch.zeros(PATCH, dtype=torch.bool)
    inside[0:3, :, 1:3] = True
    assert (label[inside] == 0).all()
    assert (label[~inside] == IGNORE_INDEX).all()
    smallest = torch.from_numpy(volumes.source.read_image(volumes.cases[0])).min()
    assert (image[:, ~inside] == smallest).all()
    assert image[0, inside].min() > smallest


def test_the_fixed_crop_shows_the_labelled_structures():
    volumes = cache(
        [(30, 30, 30), (30, 30, 30)], {0: {1: ((20, 22), (3, 6), (10, 12)), 2: ((19, 20), (4, 5), (11, 14))}}
    )
    assert volumes.centre(0) == (18, 1, 10)
    _, label = volumes.read(0)
    assert (label == 1).sum() == 2 * 3 * 2
    assert (label == 2).sum() == 3
    assert volumes.centre(1) == (13, 12, 13)
    torch.testing.assert_close(volumes.gather([0, 1])[1][0], label)


def test_crops_depend_on_seed_epoch_and_index_alone():
    volumes = cache([(12, 14, 16), (9, 20, 11)])
    one, two = (PatchDataset(volumes, seed=3) for _ in range(2))
    keys = [(epoch, index) for epoch in range(4) for index in range(2)]
    assert [one.corner(key) for key in keys] == [two.corner(key) for key in keys[::-1]][::-1]
    assert len({one.corner((epoch, 0)) for epoch in range(20)}) > 10
    other = PatchDataset(volumes, seed=4)
    assert [one.corner(key) for key in keys] != [other.corner(key) for key in keys]
    batch, single = one[(2, 0)], one.__getitems__([(2, 1), (2, 0)])
    torch.testing.assert_close(batch["image"][0], single["image"][1])
    torch.testing.assert_close(batch["label"][0], single["label"][1])


def test_random_crops_reach_every_corner():
    dataset = PatchDataset(cache([(6, 7, 6)]), foreground=0.0)
    corners = {dataset.corner((epoch, 0)) for epoch in range(200)}
    assert corners == {(z, y, x) for z in range(3) for y in range(2) for x in range(2)}


def test_the_share_of_crops_round_foreground():
    boxes = {0: {1: ((30, 31), (30, 31), (30, 31)), 2: ((0, 12), (0, 12), (0, 12))}}
    volumes = cache([(40, 40, 40)], boxes)
    third = PatchDataset(volumes, foreground=1 / 3)
    epochs = range(900)
    tiny_seen = np.mean([bool((third[(epoch, 0)]["label"] == 1).any()) for epoch in epochs])
    # A third of the crops are drawn, half of these for class 1; by chance 1 voxel in 64000 is rarely met.
    assert 1 / 6 - 0.04 < tiny_seen < 1 / 6 + 0.04
    always = PatchDataset(volumes, foreground=1.0)
    assert all((always[(epoch, 0)]["label"] > 0).any() for epoch in range(60))
    never = PatchDataset(volumes, foreground=0.0)
    assert np.mean([bool((never[(epoch, 0)]["label"] == 1).any()) for epoch in range(300)]) < 0.03


def test_unlabelled_volumes_are_cut_anywhere():
    dataset = PatchDataset(
        cache([(20, 20, 20)], {0: {IGNORE_INDEX: ((0, 20), (0, 20), (0, 20))}}), foreground=1.0
    )
    assert len({dataset.corner((epoch, 0)) for epoch in range(30)}) > 20
    assert (dataset[(0, 0)]["label"] == IGNORE_INDEX).all()


def test_batches_of_crops_are_augmented_and_the_same_with_workers():
    volumes = cache([(12, 14, 16), (9, 20, 11), (3, 5, 30)], {0: {1: ((2, 5), (3, 9), (4, 8))}})
    dataset = PatchDataset(volumes, transform=make_transform("flip", 3), seed=1)
    loaded = [
        [
            (batch["image"], batch["label"])
            for batch in make_loader(dataset, batch_size=2, shuffle=True, seed=1, workers=workers)
        ]
        for workers in (0, 1)
    ]
    assert [image.shape for image, _ in loaded[0]] == [(3, 2, *PATCH)]
    for one, two in zip(*loaded, strict=True):
        torch.testing.assert_close(one[0], two[0])
        torch.testing.assert_close(one[1], two[1])


def test_shares_and_sizes_out_of_range_are_refused():
    volumes = cache([(9, 9, 9)])
    with pytest.raises(ConfigError, match="foreground is a share"):
        PatchDataset(volumes, foreground=1.5)
    with pytest.raises(ConfigError, match="size must be one positive number or 3"):
        cache([(9, 9, 9)], patch=(4, 4))


PHANTOM = {"kind": "phantom", "cases": 8}
UNET = {"name": "monai/unet", "options": {"channels": [4, 8], "num_res_units": 0}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"size": None}, "data.size: this key is required"),
        (
            {"source": {"kind": "folder", "root": "x"}, "size": [9, 9], "patch": [4, 4, 4]},
            "data.size and data.patch are both",
        ),
        ({"patch": [4, 4]}, "data.patch"),
        ({"patch_foreground": 1.5}, "data.patch_foreground"),
    ],
)
def test_recipes_say_what_is_wrong_with_sizes(data, message):
    with pytest.raises(ConfigError, match=message):
        check_recipe(tiny(data=data))


def test_stored_teachers_and_patches_do_not_go_together():
    data = {"source": PHANTOM, "size": [32, 32, 32], "patch": [16, 16, 16]}
    method = {"name": "distillation"}
    with pytest.raises(ConfigError, match=r"give --teacher\.mode live"):
        check_recipe(tiny(data=data, model=UNET, method=method))
    check_recipe(tiny(data=data, model=UNET, method=method, teacher={"mode": "live", "path": "x"}))
    check_recipe(tiny(data=data, model=UNET))


def test_patches_of_images_are_refused():
    from meddistill.training.data import TaskData

    recipe = check_recipe(tiny(data={"patch": [16, 16, 16]}))
    with pytest.raises(ConfigError, match=r"data\.patch cuts volumes"):
        TaskData.from_config(recipe.data)


def test_weak_labels_are_cut_with_their_volumes_and_full_ones_of_weak_cases_stay_out():
    boxes = {0: {1: ((2, 9), (3, 9), (4, 9))}, 1: {2: ((10, 15), (2, 8), (20, 26))}}
    source = Volumes([(12, 14, 16), (20, 10, 30)], boxes)
    supervision = Supervision(frozenset(["0"]), CentralDisc(width=3))
    volumes = PatchCache(source, source.cases, patch=PATCH, supervision=supervision)
    drawn = volumes.weak_map(1)
    assert 0 < (drawn == 2).sum() < (torch.from_numpy(source.read_label(source.cases[1])) == 2).sum()
    batch = PatchDataset(volumes, foreground=1.0, transform=make_transform("flip", 3)).__getitems__(
        [(0, 0), (0, 1)]
    )
    assert batch["full"].tolist() == [True, False]
    assert batch["weak"].shape == batch["label"].shape == (2, *PATCH)
    assert (batch["label"][1] == batch["weak"][1]).all()
    assert (batch["label"][1] == 2).sum() >= 1
    assert set(batch["label"][1].unique().tolist()) == {IGNORE_INDEX, 2}
    assert 0 in batch["label"][0]
    full, weak = volumes.gather_weak([1, 0])
    assert full.tolist() == [False, True]
    torch.testing.assert_close(weak[0], volumes.read(1)[1])
    corner = volumes.centre(1)
    where = tuple(slice(start, start + side) for start, side in zip(corner, PATCH, strict=True))
    torch.testing.assert_close(weak[0], drawn[where])
