from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.data import IGNORE_INDEX
from meddistill.data.volumes.classes import ClassMap, whole_numbers
from meddistill.errors import ConfigError, DataError

FILE = Path("label.nii.gz")
values = st.lists(st.integers(-50, 3000), min_size=3, max_size=8, unique=True)


@settings(max_examples=50)
@given(known=values, pick=st.data())
def test_mapping_agrees_with_a_dictionary(known, pick):
    *given_, last, ignored = known
    classes = ClassMap.of({"background": given_, "organ": last}, ignore=ignored)
    expected = dict.fromkeys(given_, 0) | {last: 1, ignored: IGNORE_INDEX}
    drawn = pick.draw(st.lists(st.sampled_from(known), min_size=1, max_size=20))
    found = classes(np.array(drawn, dtype=np.int32), FILE)
    assert found.dtype == np.int16
    assert found.tolist() == [expected[value] for value in drawn]


@pytest.mark.parametrize("wrong", [-1, 2, 4, 70_000])
def test_unknown_values_are_refused_by_name(wrong):
    classes = ClassMap.of({"background": 0, "a": 1, "b": 3})
    with pytest.raises(
        DataError, match=rf"label.nii.gz: label value {wrong} is in no class \(known: 0, 1, 3\)"
    ):
        classes(np.array([0, 1, 3, wrong]), FILE)


@pytest.mark.parametrize(
    ("classes", "ignore", "message"),
    [
        ({"background": 0}, None, "at least two names"),
        (["background", "organ"], None, "at least two names"),
        ({"background": 0, "a": 0}, None, "the label value 0 stands twice"),
        ({"background": 0, "a": 1}, 1, "the label value 1 stands twice"),
        ({"background": 0, "a": []}, None, "classes.a must be a label value"),
        ({"background": 0, "a": "1"}, None, "classes.a must be a label value"),
        ({"background": 0, "a": [True]}, None, "classes.a must be a label value"),
        ({"background": 0, "a": 10**9}, None, "within 65536"),
    ],
)
def test_bad_mappings_are_refused(classes, ignore, message):
    with pytest.raises(ConfigError, match=message):
        ClassMap.of(classes, ignore)


def test_whole_floats_are_labels_and_others_are_not():
    assert whole_numbers(np.array([0.0, 3.0], np.float32), FILE).tolist() == [0, 3]
    assert whole_numbers(np.array([False, True]), FILE).tolist() == [0, 1]
    with pytest.raises(DataError, match=r"label value 0\.5 is not a whole number \(2 voxels\)"):
        whole_numbers(np.array([0, 0.5, 1, 1.25]), FILE)
    with pytest.raises(DataError, match="label value nan is not a whole number"):
        whole_numbers(np.array([0, np.nan]), FILE)
