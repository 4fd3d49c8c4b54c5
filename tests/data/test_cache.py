import collections
import hashlib
import pickle
import tempfile

import numpy as np
import pytest
import torch

from meddistill.data import IGNORE_INDEX, Case, CaseCache, FolderSource
from meddistill.data.resize import resize_image, resize_label
from meddistill.errors import ConfigError, DataError
from tests.data.builders import busi_tree, truncate, write_image


class Volumes:
    """Generated 3D cases, as a source without files."""

    class_names = ("background", "organ")
    in_channels = 2
    dims = 3
    cases = tuple(Case(f"v{number}") for number in range(3))

    def __init__(self):
        self.reads = collections.Counter()

    def read_image(self, case):
        self.reads[case.id] += 1
        return np.full((2, 4, 5, 6), int(case.id[1:]) / 4, dtype=np.float32)

    def read_label(self, case):
        label = np.ones((4, 5, 6), dtype=np.int16)
        label[0, 0, 0] = IGNORE_INDEX
        return label


@pytest.fixture
def source(tmp_path):
    return FolderSource(busi_tree(tmp_path / "busi"))


def test_holds_what_the_source_reads(source):
    held = CaseCache(source, source.cases, size=None)
    assert (len(held), held.size) == (9, (12, 10))
    assert (held.images.dtype, held.labels.dtype) == (torch.uint8, torch.int16)
    for index, case in enumerate(source.cases):
        image, label = held.read(index)
        assert np.array_equal(image, source.read_image(case))
        assert np.array_equal(label, source.read_label(case))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "area"])
def test_resizes_image_and_label(source, interpolation):
    held = CaseCache(source, source.cases[:2], size=(6, 7), interpolation=interpolation)
    case = source.cases[1]
    image, label = held.read(1)
    assert torch.equal(image, resize_image(torch.from_numpy(source.read_image(case)), (6, 7), interpolation))
    assert torch.equal(label, resize_label(torch.from_numpy(source.read_label(case)), (6, 7)))


def test_volumes_of_floats(source):
    held = CaseCache(Volumes(), Volumes.cases, size=3)
    images, labels = held.gather(range(3))
    assert images.shape == (3, 2, 3, 3, 3)
    assert images.dtype == torch.float32
    assert images[:, 0, 0, 0, 0].tolist() == [0, 0.25, 0.5]
    assert labels.shape == (3, 3, 3, 3)
    whole = CaseCache(Volumes(), Volumes.cases, size=None)
    assert whole.read(0)[1].unique().tolist() == [IGNORE_INDEX, 1]


def test_each_case_is_decoded_once(source):
    volumes = Volumes()
    held = CaseCache(volumes, volumes.cases, size=None)
    first_sets_the_size = {"v0": 2, "v1": 1, "v2": 1}
    assert volumes.reads == first_sets_the_size
    held.gather([0, 1, 2, 2])
    assert volumes.reads == first_sets_the_size


def test_decoded_cases_lie_in_files_that_vanish_with_the_cache(source, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    held = CaseCache(source, source.cases, size=4)
    images, labels = held.gather([8, 0, 8])
    assert images.shape == (3, 1, 4, 4)
    assert torch.equal(images[0], images[2])
    assert torch.equal(labels[1], held.read(0)[1])
    assert held.images.nbytes + held.labels.nbytes == 9 * 4 * 4 * (1 + 2)
    assert set(tmp_path.iterdir()) == before


def test_no_room_for_the_decoded_cases_is_said_in_one_line(source, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with pytest.raises(DataError, match=r"/proc has no room for 0 MB of decoded images .* set TMPDIR"):
        CaseCache(source, source.cases, size=4)


def test_fingerprint_follows_content_ids_order_and_size(source, tmp_path):
    base = CaseCache(source, source.cases, size=6).fingerprint()
    assert len(base) == 64
    assert CaseCache(source, source.cases, size=6).fingerprint() == base
    others = [
        CaseCache(source, source.cases, size=5).fingerprint(),
        CaseCache(source, source.cases[::-1], size=6).fingerprint(),
        CaseCache(source, source.cases[1:], size=6).fingerprint(),
    ]
    (source.root / "benign/benign (1)_mask.png").replace(source.root / "benign/benign (1)_mask_1.png")
    assert CaseCache(FolderSource(source.root), FolderSource(source.root).cases, size=6).fingerprint() == base
    write_image(source.root / "benign/benign (1)_mask_1.png", 0, size=(12, 10))
    again = FolderSource(source.root)
    others.append(CaseCache(again, again.cases, size=6).fingerprint())
    assert len({base, *others}) == 5


def test_the_digest_of_a_case_follows_its_image_alone(source):
    held = CaseCache(source, source.cases, size=None)
    image = np.ascontiguousarray(source.read_image(source.cases[0]))
    assert held.digest(0) == hashlib.sha256(image.tobytes()).hexdigest()
    write_image(source.root / "benign/benign (1)_mask.png", 0, size=(12, 10))
    assert CaseCache(source, source.cases, size=None).digest(0) == held.digest(0)
    assert held.digest(0) != held.digest(1)


def test_can_be_pickled_for_spawned_workers(source):
    held = CaseCache(source, source.cases, size=4)
    again = pickle.loads(pickle.dumps(held))  # noqa: S301 - written one call earlier
    assert torch.equal(again.gather([0, 8])[0], held.gather([0, 8])[0])


def test_damaged_file_stops_the_cache(source):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    write_image(source.root / "normal/normal (3)_mask.png", 0, size=(64, 64))
    truncate(write_image(source.root / "normal/normal (3).png", noise))
    with pytest.raises(DataError, match=r"normal \(3\)\.png: cannot be decoded"):
        CaseCache(source, source.cases, size=4)


def test_size_mismatch_is_found_before_decoding(source):
    write_image(source.root / "normal/normal (3)_mask.png", 0, size=(3, 3))
    with pytest.raises(DataError, match="the label is 3 x 3"):
        CaseCache(source, source.cases, size=4)


def test_unequal_images_need_a_size(source):
    for suffix in ("", "_mask"):
        write_image(source.root / f"normal/normal (3){suffix}.png", 0, size=(20, 10))
    with pytest.raises(DataError, match=r"normal \(3\) is \(20, 10\), but benign/benign \(1\) is \(12, 10\)"):
        CaseCache(source, source.cases, size=None)
    assert CaseCache(source, source.cases, size=4).size == (4, 4)


def test_mixed_bit_depth_is_refused(source):
    write_image(source.root / "normal/normal (3).png", np.zeros((12, 10), dtype=np.uint16))
    with pytest.raises(DataError, match=r"normal \(3\) and .* differ in bit depth"):
        CaseCache(source, source.cases, size=4)


def test_source_that_disagrees_with_itself_is_refused():
    class Odd(Volumes):
        in_channels = 1

    with pytest.raises(DataError, match=r"v0: image .* do not fit together"):
        CaseCache(Odd(), Odd.cases, size=3)


def test_wrong_arguments(source):
    with pytest.raises(DataError, match="there are no cases"):
        CaseCache(source, [], size=4)
    with pytest.raises(ConfigError, match="interpolation must be 'nearest' or"):
        CaseCache(source, source.cases, size=4, interpolation="cubic")
    with pytest.raises(ConfigError, match="size must be"):
        CaseCache(source, source.cases, size=(4, 4, 4))
