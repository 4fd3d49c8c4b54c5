import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from meddistill.data import Source, split_cases
from meddistill.data.sources.medmnist import MedMnistSource
from meddistill.data.task import task_of
from meddistill.errors import ConfigError, DataError
from tests.data.answers import medmnist_file

DATA = Path(os.environ.get("MEDDISTILL_DATA", Path(__file__).parents[4] / "shared" / "data"))


def test_classes_images_and_splits_of_the_file(tmp_path):
    file = medmnist_file(tmp_path / "a.npz", per_part=4)
    source = MedMnistSource(file, class_names=("healthy", "sick"))
    assert isinstance(source, Source)
    assert (task_of(source), source.class_names) == ("classification", ("healthy", "sick"))
    split = split_cases(source)
    assert [len(split.cases[name]) for name in ("train", "selection", "calibration", "test")] == [4, 4, 0, 4]
    case = split.cases["selection"][1]
    assert (case.id, case.stratum, case.image) == ("val/00001", "sick", None)
    assert int(source.read_label(case)) == 1
    with np.load(file) as arrays:
        assert np.array_equal(source.read_image(case)[0], arrays["val_images"][1])


def test_several_labels(tmp_path):
    source = MedMnistSource(medmnist_file(tmp_path / "a.npz", labels=3))
    assert (task_of(source), source.class_names) == ("multi_label", ("class 0", "class 1", "class 2"))
    assert source.read_label(source.cases[1]).tolist() == [1, 1, 1]
    assert source.read_label(source.cases[0]).tolist() == [0, 0, 1]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("colour", [False, True])
def test_channels_are_converted(tmp_path, colour, channels):
    grey = MedMnistSource(medmnist_file(tmp_path / "grey.npz"))
    source = MedMnistSource(medmnist_file(tmp_path / "a.npz", colour=colour), channels=channels)
    image = source.read_image(source.cases[0])
    assert (image.shape, image.dtype) == ((channels, 16, 16), np.uint8)
    for channel in image:
        assert np.array_equal(channel, grey.read_image(grey.cases[0])[0])


def test_it_is_pickled_without_its_images(tmp_path):
    source = MedMnistSource(medmnist_file(tmp_path / "a.npz"))
    size = len(pickle.dumps(source))
    before = source.read_image(source.cases[0])
    assert len(pickle.dumps(source)) == size
    again = pickle.loads(pickle.dumps(source))  # noqa: S301 - written one call earlier
    assert np.array_equal(again.read_image(source.cases[0]), before)


def rewritten(file, **changes):
    with np.load(file) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    kept |= changes
    np.savez(file, **{name: value for name, value in kept.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": None}, "holds no val_labels"),
        ({"train_labels": np.zeros((8, 1))}, r"train_labels is float64 \(8, 1\)"),
        ({f"{part}_labels": np.zeros((8, 1), int) for part in ("train", "val", "test")}, "only one class"),
        ({"train_labels": np.zeros((8, 2), int)}, r"labels of different widths: \[1, 2\]"),
        ({f"{part}_labels": np.full((8, 2), 2) for part in ("train", "val", "test")}, "must be 0 or 1 each"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, changes, message):
    file = medmnist_file(tmp_path / "a.npz")
    rewritten(file, **changes)
    with pytest.raises(DataError, match=message):
        MedMnistSource(file)


def test_volumes_and_lost_images_are_refused_when_they_are_read(tmp_path):
    file = medmnist_file(tmp_path / "a.npz")
    rewritten(file, train_images=np.zeros((8, 5, 5, 5), np.uint8), val_images=np.zeros((2, 5, 5), np.uint8))
    source = MedMnistSource(file)
    with pytest.raises(DataError, match=r"only 2D images .* volumes are not"):
        source.read_image(source.cases[0])
    with pytest.raises(DataError, match="has changed since it was opened"):
        source.read_image(source.cases[12])


def test_files_that_are_no_npz(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        MedMnistSource(tmp_path / "nowhere.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(DataError, match="not an npz file, or damaged"):
        MedMnistSource(tmp_path / "text.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"one\.npy: not an npz"):
        MedMnistSource(tmp_path / "one.npy")
    file = medmnist_file(tmp_path / "a.npz")
    np.savez(tmp_path / "objects.npz", train_labels=np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"objects\.npz: cannot be read as npz \(Object arrays"):
        MedMnistSource(tmp_path / "objects.npz")
    with pytest.raises(ConfigError, match="class_names names 1 of the 2 classes"):
        MedMnistSource(file, class_names=("one",))


@pytest.mark.realdata
@pytest.mark.skipif(not (DATA / "pneumoniamnist.npz").is_file(), reason=f"no real data in {DATA}")
def test_real_pneumonia():
    source = MedMnistSource(DATA / "pneumoniamnist.npz", class_names=("normal", "pneumonia"))
    split = split_cases(source)
    assert [len(split.cases[name]) for name in ("train", "selection", "test")] == [4708, 524, 624]
    assert sum(case.stratum == "pneumonia" for case in split.cases["test"]) == 390
