import json

import numpy as np
import pytest
import torch

from meddistill.data import IGNORE_INDEX, CaseCache, CaseDataset, make_loader
from meddistill.data.sources.class_folder import ClassFolderSource
from meddistill.data.sources.table import TableSource
from meddistill.errors import DataError
from meddistill.evaluation.class_metrics import CLASS_METRICS, PER_CLASS
from meddistill.evaluation.classification import answer_images, summarise_answers
from tests.data.answers import class_tree, label_table
from tests.data.sources.test_table import NIH
from tests.evaluation.answer_tables import changed, table


class Bright(torch.nn.Module):
    """Logits from the mean brightness of the upper and of the lower half."""

    def forward(self, image):
        middle = image.shape[2] // 2
        halves = [image[:, :, :middle].mean((1, 2, 3)), image[:, :, middle:].mean((1, 2, 3))]
        return torch.stack(halves, dim=1) * 20 - 5


def asked(source, network=None, **options):
    cache = CaseCache(source, source.cases, size=None)
    loader = make_loader(CaseDataset(cache), batch_size=5, shuffle=False, seed=0)
    return answer_images(
        network or Bright(),
        loader,
        class_names=source.class_names,
        task=source.task,
        cases={case.id: case for case in source.cases},
        **options,
    )


def test_every_image_is_asked_about_once(tmp_path):
    source = ClassFolderSource(class_tree(tmp_path), group_pattern="^([^_]+)")
    answers = asked(source)
    assert answers.cases.tolist() == [case.id for case in source.cases]
    assert answers.groups.tolist()[:3] == ["h0", "h0", "h1"]
    assert answers.labels.tolist() == [0] * 4 + [1] * 4
    assert np.allclose(answers.probabilities.sum(1), 1)
    image = torch.from_numpy(source.read_image(source.cases[3])).float()[None] / 255
    assert np.allclose(answers.probabilities[3], Bright()(image)[0].softmax(0), atol=1e-6)


def test_several_labels_have_a_probability_each(tmp_path):
    source = TableSource(label_table(tmp_path), root=tmp_path / "images", **NIH)
    answers = asked(source)
    assert (answers.task, answers.labels.shape) == ("multi_label", (12, 2))
    image = torch.from_numpy(source.read_image(source.cases[7])).float()[None] / 255
    assert np.allclose(answers.probabilities[7], Bright()(image)[0].sigmoid(), atol=1e-6)


def test_answers_that_are_none_are_refused(tmp_path):
    source = ClassFolderSource(class_tree(tmp_path))
    with pytest.raises(
        DataError, match=r"logits \(5, 1, 16, 16\) are no answers about 5 images and 2 classes"
    ):
        asked(source, torch.nn.Identity())
    with pytest.raises(DataError, match="hold NaN or infinity"):
        asked(source, lambda image: torch.full((len(image), 2), torch.nan))


@pytest.mark.parametrize("several", [False, True])
def test_the_summary_holds_every_number_with_its_interval(several):
    given = table(60, 3, several=several, group_size=2)
    summary = summarise_answers(given, resamples=60)
    assert json.loads(json.dumps(summary)) == summary
    assert list(summary["metrics"]) == list(CLASS_METRICS)
    for name, estimate in summary["metrics"].items():
        assert estimate["low"] <= estimate["mean"] <= estimate["high"], name
        assert estimate["n"] == 60
    assert summary["counts"]["groups"] == 30
    assert list(summary["classes"]) == list(given.class_names)
    for name, part in summary["classes"].items():
        assert list(part["metrics"]) == list(PER_CLASS)
        k = given.class_names.index(name)
        truth = given.labels[:, k] == 1 if several else given.labels == k
        assert part["counts"]["label"] == part["metrics"]["auroc"]["n"] == truth.sum()
    recalls = [part["metrics"]["recall"]["mean"] for part in summary["classes"].values()]
    assert summary["metrics"]["recall_macro"]["mean"] == pytest.approx(np.mean(recalls))
    assert summary["dataset"]["ece"] == summary["metrics"]["ece"]["mean"]
    assert sum(summary["reliability"]["count"]) == (180 if several else 60)
    wrong = (given.labels != given.predicted).sum()
    assert summary["counts"]["wrong"] == wrong


def test_groups_widen_the_interval():
    given = table(120, 2, group_size=1)
    doubled = given.take(np.repeat(np.arange(120), 3))
    single = summarise_answers(doubled, resamples=200)["metrics"]["auroc"]
    names = np.array([f"{n}" for n in range(360)])
    apart = summarise_answers(changed(doubled, groups=names), resamples=200)["metrics"]["auroc"]
    assert single["high"] - single["low"] > 1.4 * (apart["high"] - apart["low"])


def test_what_is_undefined_is_null_and_counted():
    given = table(30, 3, seed=1)
    kept = given.take(given.labels != 1)
    labels = kept.labels.copy()
    labels[:2] = IGNORE_INDEX
    summary = summarise_answers(changed(kept, labels=labels), resamples=20)
    assert summary["counts"]["absent_classes"] == 1
    assert summary["counts"]["unlabelled"] == 2
    absent = summary["classes"]["kind 1"]["metrics"]
    assert absent["auroc"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert summary["roc"]["kind 1"] is None
    assert summary["metrics"]["auroc"]["mean"] is not None


def test_one_group_has_no_interval():
    given = changed(table(10, 2), groups=np.full(10, "one"))
    assert summarise_answers(given)["metrics"]["accuracy"]["low"] is None


def test_a_curve_has_few_points_and_both_ends():
    roc = summarise_answers(table(900, 2, digits=None), resamples=1)["roc"]["kind 1"]
    rates = np.array([roc["false_positive_rate"], roc["true_positive_rate"]])
    assert rates.shape == (2, 200)
    assert rates[:, 0].tolist() == [0, 0]
    assert rates[:, -1].tolist() == [1, 1]
    assert (np.diff(rates) >= 0).all()


def test_without_a_known_label_there_is_nothing_to_score():
    given = table(4, 2)
    with pytest.raises(DataError, match="no image has a known label"):
        summarise_answers(changed(given, labels=np.full(4, IGNORE_INDEX)))
