"""`data.source.axis` of a recipe: which axis of the volumes is cut."""

import numpy as np
import pytest

from meddistill.data import SPLITS
from meddistill.data.volumes import Geometry, write_volume
from meddistill.errors import ConfigError
from meddistill.training.data import TaskData
from tests.recipes import tiny_recipe

SHAPE = (3, 4, 5)


@pytest.fixture
def root(tmp_path):
    values = np.arange(60).reshape(SHAPE) % 3
    for folder in ("images", "labels"):
        for number in range(4):
            write_volume(
                tmp_path / folder / f"{number}.nii.gz", values, Geometry.from_affine(np.eye(4), SHAPE)
            )
    return tmp_path


def data(root, size, **options):
    classes = {"background": 0, "one": 1, "two": 2}
    source = {"kind": "volumes", "root": str(root), "classes": classes, **options}
    quarters = dict.fromkeys(SPLITS, 0.25)
    recipe = tiny_recipe(data={"source": source, "size": size, "splits": {"fractions": quarters}})
    return TaskData.from_config(recipe.data)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_cut_across_the_axis(root, axis):
    found = data(root, [8, 8], slices=True, axis=axis)
    case = found.source.cases[1]
    whole = found.source.volumes.read_label(found.source.volume_of(case))
    assert len(found.source.cases) == 4 * SHAPE[axis]
    assert np.array_equal(found.source.read_label(case), whole.take(1, axis))
    assert {len(cases) for cases in found.split.cases.values()} == {SHAPE[axis]}


def test_an_axis_without_slices_is_a_mistake(root):
    with pytest.raises(ConfigError, match=r"data\.source\.axis .*give slices: true too"):
        data(root, [8, 8, 8], axis=1)
