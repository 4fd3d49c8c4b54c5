import numpy as np
import pytest
from PIL import Image

from meddistill.data import IGNORE_INDEX, CaseCache, ManifestSource, PhantomSource
from meddistill.data.supervision import Supervision
from meddistill.data.weak import create_weak_label
from meddistill.errors import ConfigError, DataError
from tests.data.builders import manifest, write_image

NO = IGNORE_INDEX


def source(root, weak, label=None):
    """Two cases of 8 x 6 pixels, the first with a weak label file."""
    write_image(root / "a.png", 3)
    write_image(root / "b.png", 5)
    write_image(root / "a_weak.png", weak)
    if label is not None:
        write_image(root / "a_label.png", label)
    rows = [
        {"image": "a.png", "label": "" if label is None else "a_label.png", "weak": "a_weak.png"},
        {"image": "b.png", "label": "", "weak": ""},
    ]
    return ManifestSource(manifest(root / "list.csv", rows), num_classes=4)


def scribble(unlabelled=4):
    values = np.full((8, 6), unlabelled, dtype=np.uint8)
    values[2, 1:5] = 3
    values[7, 5] = 0
    return values


def cache(made, size, **options):
    weak = create_weak_label("file", **options)
    return CaseCache(made, made.cases, size=size, supervision=Supervision(frozenset(), weak))


def test_values_are_classes_and_one_is_unlabelled(tmp_path):
    full, weak = cache(source(tmp_path, scribble()), None, unlabelled=4).gather_weak([0, 1])
    assert full.tolist() == [False, False]
    assert (weak[0] == 3).nonzero().tolist() == [[2, 1], [2, 2], [2, 3], [2, 4]]
    assert (weak[0] == 0).nonzero().tolist() == [[7, 5]]
    assert (weak[0] == NO).sum() == 48 - 5
    assert (weak[1] == NO).all()


def test_a_case_without_full_label_is_trained_on_by_its_weak_one(tmp_path):
    made = cache(source(tmp_path, scribble()), None, unlabelled=4)
    assert made.gather([0])[1].equal(made.gather_weak([0])[1])


def test_no_label_is_lost_when_a_weak_label_shrinks(tmp_path):
    _, weak = cache(source(tmp_path, scribble()), (2, 2), unlabelled=4).gather_weak([0])
    assert weak[0].tolist() == [[3, 3], [NO, 0]]


def test_an_unlabelled_value_that_was_not_named(tmp_path):
    with pytest.raises(
        DataError, match=r"a_weak.png: weak label value 4 is outside 0..3; .*weak.unlabelled to 4"
    ):
        cache(source(tmp_path, scribble()), None)


def test_a_weak_label_of_another_size(tmp_path):
    with pytest.raises(DataError, match=r"a_weak.png: the weak label is \(4, 4\), but the image \(8, 6\)"):
        cache(source(tmp_path, np.zeros((4, 4), np.uint8)), None)


def test_a_weak_label_that_is_no_image(tmp_path):
    made = source(tmp_path, scribble())
    (tmp_path / "a_weak.png").write_text("text")
    with pytest.raises(DataError, match=r"a_weak.png: not a readable"):
        cache(made, None, unlabelled=4)


def test_a_palette_image_gives_its_indices(tmp_path):
    made = source(tmp_path, scribble())
    picture = Image.fromarray(scribble()).convert("P")
    picture.putdata(scribble().ravel().tolist())
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    picture.save(tmp_path / "a_weak.png")
    _, weak = cache(made, None, unlabelled=4).gather_weak([0])
    assert (weak[0] == 3).sum() == 4


def test_a_source_without_such_files():
    made = PhantomSource(2, size=(32, 32))
    with pytest.raises(ConfigError, match="kind file needs a source with files of weak labels"):
        cache(made, None)


def test_none_labels_nothing():
    made = PhantomSource(3, size=(32, 32), normal_fraction=0)
    weak = create_weak_label("none")
    held = CaseCache(made, made.cases, size=None, supervision=Supervision(frozenset(), weak))
    assert (held.gather_weak(range(3))[1] == NO).all()
    assert (held.gather(range(3))[1] == NO).all()
