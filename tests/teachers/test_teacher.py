"""What a teacher owns: freezing, normalisation, channels, size, class order, checks."""

import json
import math

import pytest
import torch
from torch import Tensor, nn

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, DataError, TeacherError
from meddistill.teachers import Teacher
from meddistill.teachers.check import DiceTally


class Recorder(nn.Module):
    """Answers with the first channel and its negative, and remembers what it saw."""

    def forward(self, image: Tensor) -> Tensor:
        self.seen = image
        return torch.cat([-image[:, :1], image[:, :1]], dim=1)


class Fixed(nn.Module):
    """Answers with the same output whatever it is given."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, image: Tensor) -> object:
        return self.output


def test_it_is_frozen_and_stays_in_evaluation_mode():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5))
    teacher = Teacher(network)
    image = torch.rand(3, 1, 4, 4, requires_grad=True)
    before = teacher(image)
    outer = nn.ModuleDict({"teacher": teacher}).train()
    assert outer.training
    assert not teacher.training
    assert not network.training
    after = teacher.train()(image)
    assert torch.equal(before, after)
    assert not after.requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())
    assert int(network[1].num_batches_tracked) == 0


def test_its_logits_can_take_part_in_a_loss():
    teacher, student = Teacher(nn.Conv2d(1, 2, 1)), nn.Conv2d(1, 2, 1)
    image = torch.rand(1, 1, 4, 4)
    (student(image) * teacher(image)).sum().backward()
    assert student.weight.grad is not None
    assert all(p.grad is None for p in teacher.parameters())


def test_normalisation_per_channel():
    network = Recorder()
    teacher = Teacher(network, in_channels=3, mean=[0.1, 0.2, 0.3], std=[1.0, 2.0, 4.0])
    teacher(torch.full((1, 3, 2, 2), 0.5))
    assert network.seen[0, :, 0, 0].tolist() == pytest.approx([0.4, 0.15, 0.05])


def test_a_grey_image_is_repeated_for_a_network_of_three_channels():
    network = Recorder()
    image = torch.rand(2, 1, 4, 4)
    Teacher(network, in_channels=3, mean=[0.0, 0.0, 0.5])(image)
    assert torch.equal(network.seen[:, 0], image[:, 0])
    assert torch.equal(network.seen[:, 1], image[:, 0])
    assert torch.allclose(network.seen[:, 2], image[:, 0] - 0.5)


@pytest.mark.parametrize(("wanted", "given"), [(1, 3), (2, 1), (3, 2), (4, 3)])
def test_other_channels_are_refused(wanted: int, given: int):
    teacher = Teacher(Recorder(), in_channels=wanted)
    with pytest.raises(TeacherError, match=f"takes {wanted} channels and the images have {given}"):
        teacher(torch.zeros(1, given, 4, 4))
    with pytest.raises(TeacherError, match=f"takes {wanted} channels"):
        teacher.check_fits(num_classes=2, in_channels=given)


@pytest.mark.parametrize(("size", "image_size"), [((8, 8), (16, 12)), ((6, 6, 6), (4, 5, 6))])
def test_it_resizes_in_and_back(size: tuple[int, ...], image_size: tuple[int, ...]):
    network = Recorder()
    constant = torch.full((1, 1, *image_size), 0.25)
    logits = Teacher(network, size=size)(constant)
    assert tuple(network.seen.shape[2:]) == size
    assert logits.shape == (1, 2, *image_size)
    assert torch.allclose(logits[:, 1], constant[:, 0])


def test_a_network_that_answers_at_a_lower_resolution_is_brought_to_the_images_size():
    logits = Teacher(nn.Conv2d(1, 2, 2, stride=2))(torch.rand(1, 1, 8, 8))
    assert logits.shape == (1, 2, 8, 8)


def test_class_map_orders_the_logits_as_the_data():
    output = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    teacher = Teacher(Fixed(output), num_classes=3, class_map=[2, 0, 1])
    assert teacher(torch.zeros(1, 1, 2, 2))[0, :, 0, 0].tolist() == [3, 1, 2]


def test_merged_classes_add_their_probabilities_and_unknown_ones_have_none():
    output = torch.tensor([0.5, 0.125, 0.25, 0.125]).log().view(1, 4, 1, 1).expand(1, 4, 2, 2)
    teacher = Teacher(Fixed(output), num_classes=4, class_map=[0, [1, 3], None, 2])
    assert teacher.num_classes == 4
    assert teacher.known == (True, True, False, True)
    probabilities = teacher(torch.zeros(1, 1, 2, 2)).softmax(1)[0, :, 0, 0]
    assert probabilities.tolist() == pytest.approx([0.5, 0.25, 0.0, 0.25])


def test_a_lone_teacher_that_does_not_know_a_class_is_refused():
    teacher = Teacher(Recorder(), class_map=[0, None, 1])
    with pytest.raises(TeacherError, match=r"does not know class 1 \(null in its class_map\); join it"):
        teacher.check_fits(num_classes=3, in_channels=1)


def test_each_image_can_be_standardised_by_itself():
    network = Recorder()
    images = torch.stack([torch.full((1, 4, 4), 0.5), torch.rand(1, 4, 4)])
    Teacher(network, standardise="image", mean=[1.0], std=[2.0])(images)
    assert network.seen[0].unique().tolist() == [-0.5]
    assert float(network.seen[1].mean()) == pytest.approx(-0.5, abs=1e-6)
    assert float(network.seen[1].std(unbiased=False)) == pytest.approx(0.5, abs=1e-6)
    with pytest.raises(ConfigError, match="unknown standardise 'imag'; did you mean 'image'"):
        Teacher(network, standardise="imag")


def test_one_answer_per_image_goes_through_the_class_map():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 3))
    image = torch.rand(5, 1, 6, 6)
    plain = Teacher(network, num_classes=3)(image)
    assert plain.shape == (5, 3)
    assert torch.equal(plain, network(image))
    mapped = Teacher(network, num_classes=3, class_map=[2, [0, 1]])(image)
    assert torch.allclose(mapped.softmax(1)[:, 0], plain.softmax(1)[:, 2])


def test_lower_precision_gives_float32_near_the_full_one():
    network = nn.Conv2d(1, 2, 3, padding=1)
    image = torch.rand(1, 1, 8, 8)
    full = Teacher(network)(image)
    low = Teacher(network, dtype=torch.bfloat16)(image)
    assert low.dtype == torch.float32
    assert not torch.equal(low, full)
    assert torch.allclose(low, full, atol=0.02)


def test_dictionary_outputs_and_half_precision_become_float32_logits():
    teacher = Teacher(Fixed({"out": torch.ones(1, 2, 2, 2, dtype=torch.float16)}))
    assert teacher(torch.zeros(1, 1, 2, 2)).dtype == torch.float32


@pytest.mark.parametrize("output", [torch.zeros(1, 3, 2, 2), torch.zeros(1, 3), torch.zeros(1, 2, 2), "text"])
def test_an_answer_of_another_shape_is_refused(output: object):
    with pytest.raises(TeacherError, match="teacher 'Fixed'"):
        Teacher(Fixed(output))(torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize(
    "arguments",
    [
        {"mean": [0.1, 0.2]},
        {"std": [0.0]},
        {"std": [-1.0]},
        {"mean": [math.nan]},
        {"class_map": [0, 0]},
        {"class_map": [0, 1, 2]},
        {"size": [4]},
    ],
)
def test_arguments_that_contradict_each_other_are_refused(arguments: dict[str, object]):
    with pytest.raises(TeacherError, match=next(iter(arguments))):
        Teacher(Recorder(), **arguments)(torch.zeros(1, 1, 2, 2))


def test_another_class_count_is_refused():
    with pytest.raises(TeacherError, match="knows 2 classes and the data have 3"):
        Teacher(Recorder()).check_fits(num_classes=3, in_channels=1)
    Teacher(Recorder()).check_fits(num_classes=2, in_channels=1)


def batch(image: Tensor, label: Tensor) -> dict[str, Tensor]:
    return {"image": image, "label": label}


def signs(*values: float) -> Tensor:
    """Images of one row; `Recorder` says foreground where they are positive."""
    return torch.tensor(values).view(1, 1, 1, -1)


def test_check_averages_the_cases_where_dice_is_defined():
    batches = [
        batch(signs(1, 1, -1, -1), torch.tensor([[[1, 0, 0, 0]]])),  # 2/3
        batch(signs(-1, -1, -1, -1), torch.tensor([[[0, 0, 0, 0]]])),  # both empty: not counted
        batch(signs(-1, -1, -1, 1), torch.tensor([[[1, 0, 0, 0]]])),  # 0
        batch(signs(1, 1, -1, -1), torch.tensor([[[1, IGNORE_INDEX, 0, 0]]])),  # 1 on the known pixels
        batch(signs(1, 1, 1, 1), torch.full((1, 1, 4), IGNORE_INDEX)),  # unlabelled
    ]
    check = Teacher(Recorder(), name="t").check(batches, num_classes=2, floor=0.5)
    assert check.mean_dice == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert check.dice == pytest.approx([check.mean_dice])
    assert (check.cases, check.counts, check.floor, check.name) == (4, (3,), 0.5, "t")
    assert json.loads(json.dumps(check.to_json()))["counts"] == [3]


def test_check_reports_each_class():
    output = torch.nn.functional.one_hot(torch.tensor([[0, 1, 2, 2]]), 4).movedim(-1, 1)[:, :, None].float()
    teacher = Teacher(Fixed(output), num_classes=4)
    check = teacher.check([batch(torch.zeros(1, 1, 1, 4), torch.tensor([[[0, 1, 1, 2]]]))], num_classes=4)
    assert check.dice[:2] == pytest.approx((2 / 3, 2 / 3))
    assert math.isnan(check.dice[2])
    assert check.counts == (1, 1, 0)
    assert check.mean_dice == pytest.approx(2 / 3)


def test_a_teacher_below_the_floor_is_refused_with_reasons():
    batches = [batch(signs(1, 1, 1, -1), torch.tensor([[[1, 0, 0, 0]]]))]
    with pytest.raises(
        TeacherError, match=r"'t' scores a mean Dice of 0\.5000 on 1 .* floor of 0\.6"
    ) as caught:
        Teacher(Recorder(), name="t").check(batches, num_classes=2, floor=0.6)
    message = str(caught.value)
    assert "\n" not in message
    assert all(cause in message for cause in ("normalisation", "class order", "image size"))


def test_what_cannot_be_checked_is_refused():
    teacher = Teacher(Recorder())
    with pytest.raises(TeacherError, match="no case is labelled"):
        teacher.check([], num_classes=2)
    empty = [batch(signs(-1, -1), torch.tensor([[[0, 0]]]))]
    with pytest.raises(TeacherError, match="no case shows a class"):
        teacher.check(empty, num_classes=2, floor=0.1)
    assert math.isnan(teacher.check(empty, num_classes=2).mean_dice)
    with pytest.raises(TeacherError, match="NaN or infinity"):
        teacher.check([batch(signs(math.nan, 0.0), torch.tensor([[[0, 1]]]))], num_classes=2)
    with pytest.raises(TeacherError, match="knows 2 classes"):
        teacher.check(empty, num_classes=3)
    with pytest.raises(ConfigError, match=r"floor is 1\.5"):
        teacher.check(empty, num_classes=2, floor=1.5)


def test_a_teacher_that_answers_once_per_image_is_checked_by_its_accuracy():
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    label = torch.tensor([0, 1, 0, IGNORE_INDEX])
    teacher = Teacher(Fixed(logits), name="t", class_names=("benign", "malignant"))
    check = teacher.check([batch(torch.zeros(4, 1, 2, 2), label)], num_classes=2, floor=0.6)
    assert (check.accuracy, check.recall, check.counts) == (pytest.approx(2 / 3), (0.5, 1.0), (2, 1))
    assert check.summary("selection") == (
        "teacher 't': accuracy 0.6667 on 3 selection cases (benign 0.5000, malignant 1.0000)"
    )
    assert json.loads(json.dumps(check.to_json()))["cases"] == 3
    with pytest.raises(
        TeacherError, match=r"accuracy of 0\.6667 on 3 .* floor of 0\.7; likely causes: other"
    ):
        teacher.check([batch(torch.zeros(4, 1, 2, 2), label)], num_classes=2, floor=0.7)
    with pytest.raises(DataError, match="do not fit a teacher that answers once per image"):
        teacher.check([batch(torch.zeros(4, 1, 2, 2), torch.zeros(4, 2, 2).long())], num_classes=2)


def test_a_check_says_in_one_line_what_it_found():
    teacher = Teacher(Recorder(), name="t", class_names=("background", "lesion"))
    check = teacher.check([batch(signs(1, 1, -1, -1), torch.tensor([[[1, 0, 0, 0]]]))], num_classes=2)
    assert check.summary("selection") == (
        "teacher 't': mean Dice 0.6667 on 1 selection cases (lesion 0.6667)"
    )
    assert str(check) == check.summary()


def test_labels_of_another_size_are_refused():
    with pytest.raises(DataError, match=r"\(1, 3\) do not fit images of \(1, 4\)"):
        DiceTally(2).update(torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 3, dtype=torch.long))
    with pytest.raises(
        DataError, match=r"whole images \(shape \(1,\)\) do not fit a teacher .* give one that"
    ):
        DiceTally(2).update(torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, dtype=torch.long))
