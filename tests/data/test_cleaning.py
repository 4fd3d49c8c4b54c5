"""Labels that are probably wrong, and the folds that show it."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from meddistill.data import CaseCache, ClassFolderSource, cleaning
from meddistill.data.case import IGNORE_INDEX
from meddistill.data.cleaning import check_cleanlab, draw_folds, wrong_labels
from meddistill.data.grouping import group_of
from meddistill.errors import ConfigError
from tests.data.answers import class_tree

needs_cleanlab = pytest.mark.skipif(
    importlib.util.find_spec("cleanlab") is None, reason="cleanlab is not installed: the extra clean"
)


def cache_of(place, per_class=12):
    """Three classes, two images a patient."""
    source = ClassFolderSource(class_tree(place, per_class=per_class, classes=3), group_pattern="^([^_]+)")
    return CaseCache(source, source.cases, size=4)


def confident(truth, sure=0.8):
    probabilities = np.full((len(truth), 3), (1 - sure) / 2)
    probabilities[np.arange(len(truth)), truth] = sure
    return probabilities


@needs_cleanlab
def test_labels_that_a_good_network_contradicts_are_marked():
    truth = np.arange(90) % 3
    noted = truth.copy()
    noted[:9] = (noted[:9] + 1) % 3
    assert np.flatnonzero(wrong_labels(noted, confident(truth))).tolist() == list(range(9))


@needs_cleanlab
def test_nothing_is_marked_where_all_agree():
    truth = np.arange(30) % 3
    assert not wrong_labels(truth, confident(truth)).any()


@needs_cleanlab
def test_unknown_labels_are_never_marked():
    truth = np.arange(90) % 3
    noted = np.where(np.arange(90) < 30, IGNORE_INDEX, truth)
    noted[30:36] = (noted[30:36] + 1) % 3
    assert np.flatnonzero(wrong_labels(noted, confident(truth))).tolist() == list(range(30, 36))
    assert not wrong_labels(np.full(4, IGNORE_INDEX), confident(truth[:4])).any()


def test_without_cleanlab_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(cleaning, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"data.clean needs cleanlab: pip install 'meddistill\[clean\]'"):
        check_cleanlab()


def test_folds_are_disjoint_whole_groups_and_balanced_by_class(tmp_path):
    cache = cache_of(tmp_path)
    folds = draw_folds(cache, 3, seed=0)
    assert sorted(place for fold in folds for place in fold) == list(range(36))
    groups = [{group_of(cache.cases[place]) for place in fold} for fold in folds]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    labels = cache.labels.read(range(36)).numpy()
    assert all(np.bincount(labels[fold]).tolist() == [4, 4, 4] for fold in folds)
    assert draw_folds(cache, 3, seed=0) == folds != draw_folds(cache, 3, seed=1)


def test_more_folds_than_groups_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"data.clean.folds is 5, but .* too few groups \(3\); give fewer"):
        draw_folds(cache_of(tmp_path, per_class=2), 5, seed=0)
