"""Ensembles: a teacher made of teachers that need not resemble each other."""

import json

import pytest
import torch
from torch import Tensor, nn

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import TeacherError
from meddistill.teachers import Ensemble, Teacher


class Says(nn.Module):
    """Answers every pixel with the same logits."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, image: Tensor) -> Tensor:
        shape = (1, -1, *(1,) * (image.ndim - 2))
        return self.logits.view(shape).expand(image.shape[0], -1, *image.shape[2:])


class Brightness(nn.Module):
    """Class 1 where the first channel is above a threshold."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, image: Tensor) -> Tensor:
        above = image[:, :1] - self.threshold
        return torch.cat([-above, above], dim=1)


IMAGE = torch.rand(2, 1, 6, 6)


def test_softmax_gives_the_mean_of_the_probabilities():
    members = [Teacher(nn.Conv2d(1, 3, 3, padding=1), num_classes=3) for _ in range(3)]
    joined = Ensemble(members)(IMAGE)
    mean = torch.stack([member(IMAGE).softmax(1) for member in members]).mean(0)
    assert torch.allclose(joined.softmax(1), mean, atol=1e-6)
    assert joined.dtype == torch.float32


def test_logits_are_averaged_when_asked_for():
    members = [Teacher(nn.Conv2d(1, 2, 1)) for _ in range(2)]
    joined = Ensemble(members, combine="logits", weights=[3, 1])(IMAGE)
    assert torch.allclose(joined, 0.75 * members[0](IMAGE) + 0.25 * members[1](IMAGE), atol=1e-6)


def test_members_differ_in_size_channels_and_normalisation():
    rgb = Teacher(nn.Conv2d(3, 2, 1), in_channels=3, mean=[0.4, 0.5, 0.6], size=[4, 4])
    half = Teacher(nn.Conv2d(1, 2, 2, stride=2), std=[0.5], standardise="image")
    assert Ensemble([rgb, half])(IMAGE).shape == (2, 2, 6, 6)
    with pytest.raises(TeacherError, match="takes 1 channels and the images have 3"):
        Ensemble([rgb, half]).check_fits(num_classes=2, in_channels=3)
    Ensemble([rgb, half]).check_fits(num_classes=2, in_channels=1)


def test_label_sets_are_joined():
    liver = Teacher(Says(0.4, 0.6).requires_grad_(False), class_map=[0, 1, None])
    with torch.no_grad():
        liver.network.logits.copy_(torch.tensor([0.4, 0.6]).log())
    both = Teacher(Says(*torch.tensor([0.3, 0.2, 0.5]).log().tolist()), num_classes=3)
    ensemble = Ensemble([liver, both])
    ensemble.check_fits(num_classes=3, in_channels=1)
    odds = torch.tensor([1.0, 0.4 / 0.35, 0.5 / 0.3])
    assert ensemble(IMAGE).softmax(1)[0, :, 0, 0].tolist() == pytest.approx((odds / odds.sum()).tolist())
    assert bool(ensemble(IMAGE).isfinite().all())


def test_an_ensemble_is_a_teacher_and_can_be_a_member():
    inner = Ensemble([Teacher(Says(0.0, 1.0)), Teacher(Says(0.0, 2.0))])
    outer = Ensemble([inner, Teacher(Says(0.0, 3.0))], combine="logits")
    assert not outer.train().training
    assert not any(parameter.requires_grad for parameter in outer.parameters())
    assert len(outer.networks) == 3
    image = IMAGE.clone().requires_grad_()
    assert not outer(image).requires_grad
    student = nn.Conv2d(1, 2, 1)
    (student(IMAGE) * outer(IMAGE)).sum().backward()
    assert student.weight.grad is not None


def test_classification_teachers_are_joined():
    def member(seed: int) -> Teacher:
        torch.manual_seed(seed)
        return Teacher(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), num_classes=3)

    members = [member(0), member(1)]
    joined = Ensemble(members)(IMAGE)
    assert joined.shape == (2, 3)
    mean = (members[0](IMAGE).softmax(1) + members[1](IMAGE).softmax(1)) / 2
    assert torch.allclose(joined.softmax(1), mean, atol=1e-6)
    with pytest.raises(TeacherError, match="some members answer once per image"):
        Ensemble([member(0), Teacher(Says(0.0, 1.0, 2.0), num_classes=3)])(IMAGE)


def test_names_that_occur_twice_are_numbered():
    names = ("unet", "fpn", "unet")
    ensemble = Ensemble([Teacher(Says(0.0, 1.0), name=name) for name in names])
    assert ensemble.member_names == ["unet 1", "fpn", "unet 2"]
    assert ensemble.name == "ensemble of unet 1, fpn, unet 2"
    assert Ensemble([Teacher(Says(0.0, 1.0))], name="mine").name == "mine"


def test_class_names_come_from_those_who_know_the_class():
    first = Teacher(Says(0.0, 1.0), class_map=[0, None, 1], class_names=("bg", "unknown", "tumour"))
    second = Teacher(Says(0.0, 1.0), class_map=[0, 1, None], class_names=("background", "liver", "unknown"))
    assert Ensemble([first, second]).class_names == ("bg", "liver", "tumour")
    assert Ensemble([first, Teacher(Says(0.0, 1.0, 0.0), num_classes=3)]).class_names == ()


def test_the_description_is_plain_and_whole():
    ensemble = Ensemble(
        [Teacher(Says(0.0, 1.0), name="a"), Teacher(Says(0.0, 2.0), name="a")], weights=[1, 3]
    )
    described = json.loads(json.dumps(ensemble.describe()))
    assert described["weights"] == [[0.25, 0.25], [0.75, 0.75]]
    assert list(described["members"]) == ["a 1", "a 2"]
    assert described["members"]["a 2"]["name"] == "a"
    assert (described["kind"], described["combine"], described["parameters"]) == (
        "ensemble",
        "probabilities",
        4,
    )


def test_the_fingerprint_holds_members_weights_and_combination():
    def fingerprint(first: float = 1.0, **options: object) -> dict[str, str]:
        mean = options.pop("mean", None)
        return Ensemble(
            [Teacher(Says(0.0, first), mean=mean), Teacher(Says(0.0, 2.0))], **options
        ).fingerprint()

    same = fingerprint()
    assert fingerprint(weights=[2, 2], name="other") == same
    for change in ({"weights": [1, 2]}, {"weights": "confidence"}, {"combine": "logits"}, {"mean": [0.5]}):
        other = fingerprint(**change)
        assert other["weights"] == same["weights"]
        assert other["preprocessing"] != same["preprocessing"]
    assert fingerprint(first=1.5)["weights"] != same["weights"]
    assert fingerprint(first=1.5)["preprocessing"] == same["preprocessing"]


def test_members_can_be_weighed_by_their_confidence_in_each_case():
    """A member that says 1/2 everywhere has no say."""
    ensemble = Ensemble([Teacher(Says(0.0, 0.0)), Teacher(Says(1.0, 3.0))], weights="confidence")
    torch.testing.assert_close(ensemble(IMAGE).softmax(1), ensemble.teachers[1](IMAGE).softmax(1))
    assert ensemble.describe()["weights"] == "confidence"
    ensemble.set_weights(None)
    assert ensemble.describe()["weights"] == [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
def test_confidence_is_that_of_each_case(combine):
    """One member is sure of dark images, the other of bright ones."""
    dark, bright = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    sure_of_dark, sure_of_bright = (nn.Conv2d(1, 2, 1, bias=True) for _ in range(2))
    with torch.no_grad():
        for network, slope, offset in ((sure_of_dark, -9.0, 9.0), (sure_of_bright, -9.0, 0.0)):
            network.weight.copy_(torch.tensor([0.0, slope]).view(2, 1, 1, 1))
            network.bias.copy_(torch.tensor([0.0, offset]))
    members = [Teacher(sure_of_dark), Teacher(sure_of_bright)]
    joined = Ensemble(members, weights="confidence", combine=combine)(torch.cat([dark, bright]))
    torch.testing.assert_close(joined.softmax(1)[0], members[0](dark).softmax(1)[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(joined.softmax(1)[1], members[1](bright).softmax(1)[0], atol=1e-6, rtol=0)


def test_confidence_with_label_sets_that_differ():
    """The member that knows liver alone guesses about it, so that the other one decides."""
    liver = Teacher(Says(0.0, 0.0), class_map=[0, 1, None])
    both = Teacher(Says(2.0, 0.0, 1.0), num_classes=3)
    ensemble = Ensemble([liver, both], weights="confidence")
    ensemble.check_fits(num_classes=3, in_channels=1)
    torch.testing.assert_close(ensemble(IMAGE).softmax(1), both(IMAGE).softmax(1))


def test_the_logits_of_the_members_can_be_had():
    known, unknown = (
        Teacher(Says(1.0, 2.0, 3.0), num_classes=3),
        Teacher(Says(1.0, 5.0), class_map=[0, 1, None]),
    )
    ensemble = Ensemble([known, unknown])
    logits = ensemble.member_logits(IMAGE)
    assert logits[:, 0, :, 0, 0].tolist() == [[1.0, 2.0, 3.0], [1.0, 5.0, -torch.inf]]
    assert torch.equal(ensemble.join(logits), ensemble(IMAGE))
    assert not logits.is_inference()


def rows(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


BATCHES = [
    {"image": rows(0.9, 0.6, 0.3, 0.1), "label": torch.tensor([[[1, 1, 0, 0]]])},
    {"image": rows(0.9, 0.6, 0.3, 0.1), "label": torch.tensor([[[1, 1, IGNORE_INDEX, 0]]])},
]


def test_weights_are_fitted_to_the_dice_of_the_members():
    """Thresholds 0.5 and 0.2: Dice 1 and 1 against 2 * 2 / (3 + 2) = 0.8 and 1, on average 1 and 0.9."""
    ensemble = Ensemble([Teacher(Brightness(0.5)), Teacher(Brightness(0.2))])
    checks = ensemble.fit_weights(iter(BATCHES))
    assert [check.mean_dice for check in checks] == pytest.approx([1.0, 0.9])
    assert [check.name for check in checks] == ["Brightness 1", "Brightness 2"]
    expected = [[1 / 1.9] * 2, [0.9 / 1.9] * 2]
    assert torch.allclose(ensemble.weights, torch.tensor(expected))


def test_weights_are_fitted_class_by_class():
    """Teacher a: Dice 2/3 for class 1 and 0 for class 2; teacher b: 0 and 1. Class 3 does not occur."""
    label = torch.tensor([[[1, 1, 2, 0]]])
    a, b = torch.tensor([1, 0, 0, 0]), torch.tensor([0, 0, 2, 0])

    class Map(nn.Module):
        def __init__(self, classes: Tensor) -> None:
            super().__init__()
            self.answer = nn.functional.one_hot(classes, 4).T[None, :, None].float()

        def forward(self, image: Tensor) -> Tensor:
            return self.answer

    ensemble = Ensemble([Teacher(Map(a), num_classes=4), Teacher(Map(b), num_classes=4)])
    ensemble.fit_weights([{"image": rows(0, 0, 0, 0), "label": label}], per_class=True)
    means = (1 / 3, 1 / 2)
    shares = [mean / sum(means) for mean in means]
    expected = [[shares[0], 1.0, 0.0, shares[0]], [shares[1], 0.0, 1.0, shares[1]]]
    assert torch.allclose(ensemble.weights, torch.tensor(expected))


def test_a_member_is_weighed_by_the_classes_it_knows():
    knows_one = Teacher(Brightness(0.5), class_map=[0, 1, None])
    knows_both = Teacher(Says(0.0, 0.0, 1.0), num_classes=3)
    ensemble = Ensemble([knows_one, knows_both])
    label = torch.tensor([[[1, 1, 2, 0]]])
    ensemble.fit_weights([{"image": rows(0.9, 0.6, 0.3, 0.1), "label": label}])
    second = (0 + 2 / 5) / 2
    assert torch.allclose(ensemble.weights[:, 0], torch.tensor([1 / (1 + second), second / (1 + second)]))
    assert ensemble.weights[:, 2].tolist() == [0.0, 1.0]


def test_classification_members_are_weighed_by_their_accuracy():
    class Bright(nn.Module):
        def __init__(self, threshold: float) -> None:
            super().__init__()
            self.threshold = threshold

        def forward(self, image: Tensor) -> Tensor:
            above = image.flatten(1).mean(1) - self.threshold
            return torch.stack([-above, above], dim=1)

    ensemble = Ensemble([Teacher(Bright(0.5)), Teacher(Bright(0.1))])
    images = torch.tensor([0.9, 0.3, 0.2, 0.0]).view(4, 1, 1, 1)
    ensemble.fit_weights([{"image": images, "label": torch.tensor([1, 0, 0, 0])}])
    assert torch.allclose(ensemble.weights[:, 0], torch.tensor([1 / 1.5, 0.5 / 1.5]))


def test_weights_that_cannot_be_fitted_are_refused():
    ensemble = Ensemble([Teacher(Brightness(2.0)), Teacher(Brightness(3.0))])
    with pytest.raises(TeacherError, match="no case is labelled"):
        ensemble.fit_weights([])
    with pytest.raises(TeacherError, match="no member scores above 0 on the labelled cases"):
        ensemble.fit_weights(BATCHES)
    empty = [{"image": rows(0.1, 0.1), "label": torch.tensor([[[0, 0]]])}]
    with pytest.raises(TeacherError, match="'Brightness 1' cannot be fitted: no labelled case shows a class"):
        ensemble.fit_weights(empty)


def test_the_best_member_answers_for_all():
    members = [Teacher(Brightness(0.2)), Teacher(Brightness(0.5)), Teacher(Brightness(0.4))]
    ensemble = Ensemble(members)
    scores = ensemble.overall(ensemble.score_members(BATCHES))
    assert scores == pytest.approx([0.9, 1.0, 1.0])
    before = ensemble.fingerprint()
    ensemble.choose_best(scores)
    assert (ensemble.best, ensemble.name) == (1, "Brightness 2 (best of 3)")  # the first of two equal ones
    assert torch.equal(ensemble(IMAGE), members[1](IMAGE))
    assert ensemble.weights[:, 0].tolist() == [0.0, 1.0, 0.0]
    joined = ensemble.joiner()(ensemble.answers(IMAGE))
    torch.testing.assert_close(joined.softmax(1), members[1](IMAGE).softmax(1))
    described = ensemble.describe()
    assert described["best"] == "Brightness 2"
    assert described["scores"] == dict(zip(ensemble.member_names, scores, strict=True))
    assert ensemble.fingerprint() != before
    ensemble.set_weights(None)
    assert not {"best", "scores"} & set(ensemble.describe())
    assert not torch.equal(ensemble(IMAGE), members[1](IMAGE))


def test_fitted_weights_keep_their_scores():
    ensemble = Ensemble([Teacher(Brightness(0.5)), Teacher(Brightness(0.2))])
    ensemble.fit_weights(BATCHES)
    assert ensemble.describe()["scores"] == pytest.approx({"Brightness 1": 1.0, "Brightness 2": 0.9})


def test_members_of_different_classes_have_no_best():
    knows_one = Teacher(Brightness(0.5), class_map=[0, 1, None])
    ensemble = Ensemble([knows_one, Teacher(Says(0.0, 0.0, 1.0), num_classes=3)])
    with pytest.raises(TeacherError, match="know different classes cannot be compared by one score; give"):
        ensemble.choose_best([0.5, 0.6])
    assert ensemble.best is None


def test_the_check_scores_the_whole():
    ensemble = Ensemble([Teacher(Brightness(0.5)), Teacher(Brightness(0.2))], name="e")
    check = ensemble.check(BATCHES, num_classes=2, floor=0.5)
    assert (check.name, check.cases) == ("e", 2)
    with pytest.raises(TeacherError, match="'e' scores a mean Dice of"):
        Ensemble([Teacher(Brightness(2.0))], name="e").check(BATCHES, num_classes=2, floor=0.5)


def test_members_that_cannot_be_joined_are_refused():
    two, three = (
        Teacher(Says(0.0, 1.0), name="two"),
        Teacher(Says(0.0, 1.0, 2.0), num_classes=3, name="three"),
    )
    with pytest.raises(TeacherError, match="'two' answers with 2 classes and 'three' with 3; give class_map"):
        Ensemble([two, three])
    with pytest.raises(TeacherError, match="at least one member"):
        Ensemble([])
    no_background = Teacher(Says(0.0, 1.0), class_map=[None, 0, 1], name="odd")
    with pytest.raises(TeacherError, match="'odd' does not know the background"):
        Ensemble([three, no_background])
    blind = Teacher(Says(0.0, 1.0), class_map=[0, 1, None])
    with pytest.raises(TeacherError, match="no member knows class 2"):
        Ensemble([blind, blind])
