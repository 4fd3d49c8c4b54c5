"""Teachers of labels that do not exclude each other: their check, temperature, ensemble and store."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchmetrics.functional.classification import multilabel_auroc

from meddistill.data import IGNORE_INDEX, CaseCache
from meddistill.data.sources.table import TableSource
from meddistill.errors import ConfigError, DataError, TeacherError
from meddistill.teachers import Ensemble, Teacher, fit_temperature
from meddistill.teachers.accuracy import AccuracyCheck, ScoreTally
from meddistill.teachers.annotate import annotate
from meddistill.teachers.labels import LabelCheck, LabelTally
from meddistill.teachers.layout import Labels, choose_layout
from meddistill.teachers.manifest import Manifest
from meddistill.teachers.store import TeacherStore
from meddistill.teachers.store_error import compare_with_live
from meddistill.teachers.stored import RowImages, manifest_for, rows_of
from tests.data.answers import label_table
from tests.data.sources.test_table import NIH


def network(seed=0, classes=2):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (30, 2), generator=generator)
    images = torch.rand(30, 1, 8, 8, generator=generator)
    images[:, 0, 0, 0] += labels[:, 0]
    return [{"image": images[:20], "label": labels[:20]}, {"image": images[20:], "label": labels[20:]}]


def test_a_teacher_of_labels_is_checked_by_auroc(batches):
    teacher = Teacher(network(), name="t", class_names=("mass", "fluid"))
    check = teacher.check(batches, num_classes=2)
    assert isinstance(check, LabelCheck)
    logits = torch.cat([teacher(batch["image"]) for batch in batches])
    labels = torch.cat([batch["label"] for batch in batches])
    expected = multilabel_auroc(logits.sigmoid(), labels, num_labels=2, average=None)
    assert check.auroc == pytest.approx(expected.tolist())
    assert check.mean_auroc == pytest.approx(float(expected.mean()))
    assert (check.cases, check.counts) == (30, tuple(labels.sum(0).tolist()))
    assert "mean AUROC" in check.summary("selection")
    assert check.to_json()["mean_auroc"] == check.mean_auroc


def test_one_below_the_floor_is_refused(batches):
    with pytest.raises(TeacherError, match=r"mean AUROC of .* below the floor of 1\.0"):
        Teacher(network()).check(batches, num_classes=2, floor=1.0)


def test_the_labels_decide_what_is_scored():
    one, several = ScoreTally(2), ScoreTally(2)
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    one.update(logits, torch.tensor([1, 0]))
    several.update(logits, torch.tensor([[0, 1], [1, 0]]))
    assert isinstance(one.result("t"), AccuracyCheck)
    assert several.result("t").mean_auroc == 1


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"labels of shape \(2, 3\) do not fit logits of shape \(2, 2\)"):
        LabelTally(2).update(torch.zeros(2, 2), torch.zeros(2, 3))
    with pytest.raises(DataError, match="must be 0 or 1"):
        LabelTally(2).update(torch.zeros(2, 2), torch.full((2, 2), 2))
    tally = LabelTally(2)
    tally.update(torch.zeros(2, 2), torch.full((2, 2), IGNORE_INDEX))
    with pytest.raises(TeacherError, match="no case is labelled"):
        tally.result("t")


def test_the_temperature_minimises_the_binary_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (200, 3), generator=generator)
    logits = 6 * (labels - 0.5) + 5 * torch.randn(200, 3, generator=generator)
    found = fit_temperature(lambda: [(logits, labels)])
    losses = {
        t: float(F.binary_cross_entropy_with_logits(logits / t, labels.float()))
        for t in (found.temperature * 0.97, found.temperature, found.temperature * 1.03)
    }
    assert min(losses, key=losses.get) == found.temperature
    assert found.nll_after == pytest.approx(losses[found.temperature], rel=1e-5)
    assert sum(found.bins_after.counts.tolist()) == 600


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
def test_an_ensemble_joins_each_label_by_itself(combine):
    members = [Teacher(network(seed), name=f"t{seed}") for seed in range(2)]
    weights = [[1.0, 3.0], [1.0, 1.0]]
    joined = Ensemble(members, combine=combine, weights=weights, independent=True)
    image = torch.rand(4, 1, 8, 8)
    single = torch.stack([member(image) for member in members])
    share = torch.tensor([[0.5, 0.75], [0.5, 0.25]])[:, None]
    if combine == "logits":
        assert torch.allclose(joined(image), (share * single).sum(0), atol=1e-6)
    else:
        assert torch.allclose(joined(image).sigmoid(), (share * single.sigmoid()).sum(0), atol=1e-6)
    assert torch.allclose(joined.joiner()(joined.answers(image)), joined(image), atol=1e-5)


def test_sure_members_leave_the_result_finite():
    class Sure(nn.Module):
        def forward(self, image):
            return torch.full((len(image), 2), 200.0)

    joined = Ensemble([Teacher(Sure(), name="a"), Teacher(Sure(), name="b")], independent=True)
    assert torch.allclose(joined(torch.zeros(1, 1, 4, 4)), torch.full((1, 2), 200.0))


def test_a_member_that_does_not_know_a_label_has_no_say_in_it():
    both, one = (
        Teacher(network(0), name="both"),
        Teacher(network(1, 1), num_classes=1, name="one", class_map=[None, 0]),
    )
    joined = Ensemble([both, one], independent=True)
    image = torch.rand(2, 1, 8, 8)
    assert torch.allclose(joined(image)[:, 0], both(image)[:, 0], atol=1e-5)
    mean = (both(image)[:, 1].sigmoid() + one(image)[:, 1].sigmoid()) / 2
    assert torch.allclose(joined(image)[:, 1].sigmoid(), mean, atol=1e-6)


def test_members_can_be_weighed_by_their_auroc(batches):
    members = [Teacher(network(seed), name=f"t{seed}") for seed in range(2)]
    joined = Ensemble(members, independent=True)
    checks = joined.fit_weights(batches, per_class=True)
    table = joined.get_buffer("weights")
    areas = torch.tensor([check.auroc for check in checks])
    assert torch.allclose(table, areas / areas.sum(0), atol=1e-6)


def test_confidence_of_labels_is_refused():
    with pytest.raises(ConfigError, match="confidence compares classes that exclude each other"):
        Ensemble([Teacher(network())], weights="confidence", independent=True)


def test_all_labels_are_stored_as_they_are():
    assert choose_layout(40, independent=True) == Labels(40)
    with pytest.raises(ConfigError, match=r"teacher\.top_k keeps the likeliest classes"):
        choose_layout(4, 2, independent=True)


@pytest.mark.parametrize("encoding", ["float16", "uint8"])
@pytest.mark.parametrize("augment", ["none", "light"])
def test_a_store_gives_the_logits_back(tmp_path, encoding, augment):
    source = TableSource(label_table(tmp_path), root=tmp_path / "images", **NIH)
    images = RowImages((CaseCache(source, source.cases, size=(16, 16)),))
    teacher = Teacher(network())
    manifest = manifest_for(teacher, images, encoding=encoding, batch_size=4)
    assert (manifest.size, manifest.independent) == ((), True)
    assert Manifest.from_json(manifest.to_json(), tmp_path) == manifest
    annotate(teacher, images, manifest, tmp_path / "store")
    store = TeacherStore.open(tmp_path / "store")
    rows = rows_of(store, [case.id for case in source.cases])
    live = teacher(images(range(len(rows))))
    assert torch.allclose(store.read(rows).sigmoid(), live.sigmoid(), atol=1 / 255)
    found = compare_with_live(store, teacher, images, rows, augment=augment)
    assert [row.change for row in found] == (
        ["none"] if augment == "none" else ["none", "flip", "rotate", "zoom"]
    )
    assert found[0].largest < 1 / 255


def test_stores_of_classes_keep_their_keys():
    """The field for labels is written only where it says something."""
    manifest = Manifest("t", "w", "p", ("a", "b"), (4, 4), 1, "area", (("x", "y"),))
    assert "independent" not in manifest.to_json()
    assert Manifest.from_json(manifest.to_json(), None) == manifest
