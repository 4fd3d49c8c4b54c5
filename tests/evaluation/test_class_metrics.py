"""Every score of answers about whole images: by hand, and as scikit-learn and torchmetrics have it."""

import math
import warnings

import numpy as np
import pytest
import torch
from torchmetrics.functional import classification as torchmetrics

from meddistill.data import IGNORE_INDEX
from meddistill.errors import ConfigError
from meddistill.evaluation import expected_calibration_error
from meddistill.evaluation.class_metrics import CLASS_METRICS, PER_CLASS, class_metric
from meddistill.evaluation.measured import Measured
from tests.evaluation.answer_tables import changed, table

TABLES = {
    "two classes": table(50, 2, seed=1),
    "five classes": table(70, 5, seed=2),
    "labels": table(50, 4, several=True, seed=3),
    "never answered": changed(table(40, 3, seed=4), probabilities=np.tile([0.5, 0.3, 0.2], (40, 1))),
}


def value(name, given):
    measured = Measured(given)
    return class_metric(name).of(measured, measured.ones)


def by_class(name, given):
    measured = Measured(given)
    return PER_CLASS[name](measured, measured.ones)


@pytest.mark.parametrize("which", TABLES)
def test_they_agree_with_scikit_learn(which):
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    given = TABLES[which]
    y, p, predicted = given.labels, given.probabilities, given.predicted
    several = given.task == "multi_label"
    truth = y if several else np.eye(p.shape[1], dtype=int)[y]
    expected = {
        "auroc": sklearn.roc_auc_score(truth, p, average="macro"),
        "average_precision": sklearn.average_precision_score(truth, p, average="macro"),
        "accuracy": np.mean(y == predicted),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for average in ("macro", "weighted"):
            for name in ("precision", "recall", "f1"):
                score = getattr(sklearn, f"{name}_score")
                expected[f"{name}_{average}"] = score(y, predicted, average=average, zero_division=0)
    if several:
        pairs = [sklearn.balanced_accuracy_score(y[:, k], predicted[:, k]) for k in range(y.shape[1])]
        expected["balanced_accuracy"] = np.mean(pairs)
        expected["brier"] = np.mean([sklearn.brier_score_loss(y[:, k], p[:, k]) for k in range(y.shape[1])])
        expected["nll"] = np.mean([sklearn.log_loss(y[:, k], p[:, k]) for k in range(y.shape[1])])
    else:
        expected["balanced_accuracy"] = sklearn.balanced_accuracy_score(y, predicted)
        expected["nll"] = sklearn.log_loss(y, p)
    for name, number in expected.items():
        assert value(name, given) == pytest.approx(number), name


@pytest.mark.parametrize("which", ["two classes", "five classes"])
def test_classes_agree_with_torchmetrics(which):
    given = TABLES[which]
    p, y, k = torch.from_numpy(given.probabilities), torch.from_numpy(given.labels), len(given.class_names)
    for name in ("precision", "recall", "specificity"):
        score = getattr(torchmetrics, f"multiclass_{name}")
        assert np.allclose(by_class(name, given), score(p, y, num_classes=k, average=None).numpy()), name
    assert np.allclose(
        by_class("f1", given), torchmetrics.multiclass_f1_score(p, y, num_classes=k, average=None).numpy()
    )
    for name in ("auroc", "average_precision"):
        score = getattr(torchmetrics, f"multiclass_{name}")
        assert np.allclose(by_class(name, given), score(p, y, num_classes=k, average=None).numpy()), name
        assert value(name, given) == pytest.approx(float(score(p, y, num_classes=k)))
    for average in ("macro", "weighted"):
        for name in ("precision", "recall", "f1"):
            score = getattr(torchmetrics, f"multiclass_{'f1_score' if name == 'f1' else name}")
            expected = float(score(p, y, num_classes=k, average=average))
            assert value(f"{name}_{average}", given) == pytest.approx(expected), (name, average)
    confusion = torchmetrics.multiclass_confusion_matrix(p, y, num_classes=k)
    assert np.array_equal(Measured(given).confusion(), confusion.numpy())
    assert value("accuracy", given) == pytest.approx(float((p.argmax(1) == y).double().mean()))


def test_labels_agree_with_torchmetrics():
    given = TABLES["labels"]
    p, y, k = torch.from_numpy(given.probabilities), torch.from_numpy(given.labels), len(given.class_names)
    for name in ("precision", "recall", "specificity", "auroc", "average_precision"):
        score = getattr(torchmetrics, f"multilabel_{name}")
        assert np.allclose(by_class(name, given), score(p, y, num_labels=k, average=None).numpy()), name
    assert value("f1_macro", given) == pytest.approx(
        float(torchmetrics.multilabel_f1_score(p, y, num_labels=k))
    )
    assert value("accuracy", given) == pytest.approx(float(((p > 0.5) == y).double().mean()))
    confusion = torchmetrics.multilabel_confusion_matrix(p, y, num_labels=k)
    assert np.array_equal(Measured(given).confusion(), confusion.numpy())


@pytest.mark.parametrize("classes", [2, 5])
def test_calibration_of_classes_is_that_of_the_streaming_bins(classes):
    given = table(80, classes, seed=6, digits=None)
    p, y = torch.from_numpy(given.probabilities), torch.from_numpy(given.labels)
    assert value("ece", given) == pytest.approx(expected_calibration_error(p, y), abs=1e-7)
    truth = torch.nn.functional.one_hot(y, classes)
    assert value("brier", given) == pytest.approx(float((p - truth).square().sum(1).mean()))
    assert value("nll", given) == pytest.approx(float(-p.gather(1, y[:, None]).log().mean()))


def test_calibration_of_labels_is_that_of_two_classes_each():
    given = table(40, 3, several=True, seed=7, digits=None)
    p, y = torch.from_numpy(given.probabilities), torch.from_numpy(given.labels)
    pairs = torch.stack([1 - p, p], dim=1)
    assert value("ece", given) == pytest.approx(expected_calibration_error(pairs, y), abs=1e-7)
    assert value("nll", given) == pytest.approx(
        float(torch.nn.functional.binary_cross_entropy(p, y.double()))
    )
    assert value("brier", given) == pytest.approx(float((p - y).square().mean()))


@pytest.mark.parametrize("name", CLASS_METRICS)
@pytest.mark.parametrize("given", TABLES.values(), ids=TABLES)
def test_many_samples_are_scored_at_once(name, given):
    weights = np.random.default_rng(8).integers(0, 3, (7, len(given))).astype(float)
    weights[0], weights[1, 4:] = 0, 0
    measured, score = Measured(given), CLASS_METRICS[name].of
    one_by_one = np.array([float(score(measured, sample)) for sample in weights])
    assert np.isnan(one_by_one[0])
    np.testing.assert_allclose(score(measured, weights), one_by_one, rtol=1e-12)


def test_a_class_without_an_image_is_left_out_of_the_means():
    given = table(60, 3, seed=8)
    kept = given.take(given.labels != 2)
    for name in ("recall", "precision", "f1", "auroc", "average_precision"):
        scores = by_class(name, kept)
        assert np.isnan(scores).tolist() == [False, False, True], name
    assert value("recall_macro", kept) == pytest.approx(by_class("recall", kept)[:2].mean())
    assert value("auroc", kept) == pytest.approx(by_class("auroc", kept)[:2].mean())
    one = given.take(given.labels == 1)
    assert math.isnan(value("auroc", one))
    assert value("balanced_accuracy", one) == pytest.approx(value("accuracy", one))


def test_unknown_labels_count_nowhere():
    given = table(50, 3, seed=9)
    labels = given.labels.copy()
    labels[10:20] = IGNORE_INDEX
    fewer = given.take(np.r_[0:10, 20:50])
    for name in CLASS_METRICS:
        assert value(name, changed(given, labels=labels)) == pytest.approx(value(name, fewer)), name


def test_some_unknown_labels_of_an_image_leave_the_others():
    given = table(30, 2, several=True, seed=10)
    labels = given.labels.copy()
    labels[::3, 0] = IGNORE_INDEX
    partly = changed(given, labels=labels)
    kept = np.arange(30) % 3 != 0
    alone = [by_class("auroc", given.take(kept))[0], by_class("auroc", given)[1]]
    assert np.allclose(by_class("auroc", partly), alone)
    right = (given.labels == given.predicted)[labels != IGNORE_INDEX]
    assert value("accuracy", partly) == pytest.approx(right.mean())


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", CLASS_METRICS)
def test_a_weight_of_n_is_n_copies(name, several):
    given = table(30, 3, several=several, seed=11)
    weights = np.random.default_rng(0).integers(0, 4, 30)
    copied = given.take(np.repeat(np.arange(30), weights))
    measured = Measured(given)
    assert class_metric(name).of(measured, weights.astype(float)) == pytest.approx(value(name, copied))


@pytest.mark.parametrize("several", [False, True])
def test_scores_of_single_images_average_to_the_whole(several):
    measured = Measured(table(30, 3, several=several, seed=12))
    for name, metric in CLASS_METRICS.items():
        if metric.cases is not None:
            assert metric.cases(measured).mean() == pytest.approx(metric.of(measured, measured.ones)), name


def test_perfect_answers():
    given = changed(table(9, 3), probabilities=np.eye(3)[table(9, 3).labels])
    perfect = {name: 1.0 if metric.higher_is_better else 0.0 for name, metric in CLASS_METRICS.items()}
    assert {name: value(name, given) for name in CLASS_METRICS} == perfect


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'auroc'"):
        class_metric("aurc")
