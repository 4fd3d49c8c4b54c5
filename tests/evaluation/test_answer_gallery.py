import numpy as np
import pytest
import torch

from meddistill.data import CaseCache, CaseDataset
from meddistill.data.sources.class_folder import ClassFolderSource
from meddistill.errors import RunError
from meddistill.evaluation import AnswerTable
from meddistill.evaluation.answer_gallery import AnswerGallery, make_answer_gallery
from tests.data.answers import class_tree
from tests.evaluation.answer_tables import table


class Cases:
    """A data set of images whose grey value is their position."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        return {"image": torch.full((1, 1, 2, 3), index / 255)}


@pytest.mark.parametrize("several", [False, True])
def test_the_worst_errors_come_first(several):
    given = table(40, 2, several=several)
    gallery = make_answer_gallery(None, Cases(), given, count=5)
    positions = gallery.image[:, 0, 0, 0].tolist()
    assert given.cases[positions].tolist() == gallery.case.tolist()
    for position, probability in zip(positions, gallery.probability, strict=True):
        label, row = given.labels[position], given.probabilities[position]
        assert np.any(given.predicted[position] != label)
        expected = np.where(label == 1, row, 1 - row).min() if several else row[label]
        assert probability == pytest.approx(expected)
    if not several:
        assert (np.diff(gallery.probability) >= 0).all()
        wrong = np.flatnonzero(given.predicted != given.labels)
        least = sorted(given.probabilities[wrong, given.labels[wrong]])[:5]
        assert gallery.probability.tolist() == pytest.approx(least)


def test_it_says_who_said_what_and_round_trips(tmp_path):
    source = ClassFolderSource(class_tree(tmp_path / "tree"))
    dataset = CaseDataset(CaseCache(source, source.cases, size=None))
    names = np.array([case.id for case in source.cases])
    always_sick = np.tile([0.2, 0.8], (8, 1))
    given = AnswerTable(names, names, names, np.array([0] * 4 + [1] * 4), always_sick, source.class_names)
    gallery = make_answer_gallery(lambda image: torch.tensor([[1.0, 0.0]]), dataset, given)
    assert set(gallery.label.tolist()) == {"healthy"}
    assert set(gallery.answer.tolist()) == {"sick"}
    assert set(gallery.teacher.tolist()) == {"healthy"}
    assert gallery.image.shape == (4, 1, 16, 16)
    gallery.save(tmp_path / "gallery.npz")
    again = AnswerGallery.load(tmp_path / "gallery.npz")
    assert all(np.array_equal(getattr(again, name), array) for name, array in vars(gallery).items())


def test_without_an_error_it_is_empty(tmp_path):
    given = table(6, 2)
    perfect = AnswerTable(
        given.cases, given.groups, given.strata, given.labels, np.eye(2)[given.labels], given.class_names
    )
    make_answer_gallery(None, Cases(), perfect).save(tmp_path / "gallery.npz")
    assert len(AnswerGallery.load(tmp_path / "gallery.npz").case) == 0


def test_a_file_that_is_no_gallery(tmp_path):
    (tmp_path / "x.npz").write_text("no")
    with pytest.raises(RunError, match="cannot read the gallery"):
        AnswerGallery.load(tmp_path / "x.npz")
