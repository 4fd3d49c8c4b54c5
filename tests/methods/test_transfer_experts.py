"""Teachers of one organ each: the mask that they write together, and the student that learns it."""

import pytest
import torch
from torch import Tensor, nn

from meddistill import create_model
from meddistill.exclusion import Answers, Disagreement, PixelEntropy
from meddistill.methods import PseudoLabelTransfer
from meddistill.teachers import Ensemble, Teacher
from meddistill.testing import make_batch

LIVER, SPLEEN = 0.9, 0.5
"""Grey values of the two organs; the background is 0.1."""


class Finds(nn.Module):
    """Says its organ where the grey value is near that of the organ."""

    def __init__(self, grey: float, *also: float, sharp: float = 60.0) -> None:
        super().__init__()
        self.greys, self.sharp = (grey, *also), sharp

    def forward(self, image: Tensor) -> Tensor:
        nearest = torch.stack([(image[:, 0] - grey).abs() for grey in self.greys]).amin(0)
        margin = self.sharp * (0.1 - nearest)
        return torch.stack([-margin / 2, margin / 2], dim=1)


def experts(*seen_by_liver: float, sharp: float = 60.0, **options) -> Ensemble:
    liver = Teacher(Finds(LIVER, *seen_by_liver, sharp=sharp), class_map=[0, 1, None], name="liver")
    spleen = Teacher(Finds(SPLEEN), class_map=[0, None, 1], name="spleen")
    return Ensemble([liver, spleen], **options)


def scenes(cases: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images (B, 1, 32, 32) with both organs at random places, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.zeros(cases, 32, 32, dtype=torch.long)
    for case in range(cases):
        for organ, left in ((1, 2), (2, 18)):
            row, column = torch.randint(10, (2,), generator=generator).tolist()
            column = left + column // 3
            label[case, row + 2 : row + 14, column : column + 10] = organ
    grey = torch.tensor([0.1, LIVER, SPLEEN])[label]
    return (grey + 0.02 * torch.randn(grey.shape, generator=generator)).clamp(0, 1)[:, None], label


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
@pytest.mark.parametrize("weights", [None, "confidence"])
def test_each_expert_decides_where_its_organ_is(combine, weights):
    image, label = scenes(4)
    y = experts(combine=combine, weights=weights)(image).softmax(1)
    assert torch.equal(y.argmax(1), label)
    right = y.gather(1, label[:, None])
    assert float(right.mean()) > 0.95
    assert float(right.min()) > 0.5


def test_weights_do_not_matter_where_each_organ_has_one_expert():
    image, _ = scenes(2)
    plain = experts()(image).softmax(1)
    for weights in ("confidence", [1.0, 9.0]):
        torch.testing.assert_close(experts(weights=weights)(image).softmax(1), plain)


@pytest.mark.parametrize("target", ["soft", "hard"])
def test_a_student_of_both_organs_learns_from_two_experts(target):
    torch.manual_seed(0)
    image, label = scenes(16)
    unseen, truth = scenes(8, seed=1)
    teacher, student = experts(), create_model("monai/unet", num_classes=3, channels=(8, 16), strides=(2,))
    method = PseudoLabelTransfer(target=target)
    optimiser = torch.optim.Adam(student.parameters(), lr=0.02)
    unknown = make_batch(torch.full_like(label, -100))
    for _ in range(40):
        optimiser.zero_grad()
        method(student(image), unknown, teacher(image))["loss"].backward()
        optimiser.step()
    student.eval()
    with torch.no_grad():
        found = student(unseen).argmax(1)
    for organ in (1, 2):
        both = ((found == organ) & (truth == organ)).sum()
        assert 2 * both / ((found == organ).sum() + (truth == organ).sum()) > 0.9


def test_experts_that_claim_one_region_share_it():
    """The liver's expert takes the spleen for liver: odds 99 and 99 give 1/199, 99/199 and 99/199."""
    sure = 2 * torch.tensor(99.0).log().item() / 0.2  # a margin of log 99 at the organ's own grey value
    liver = Teacher(Finds(LIVER, SPLEEN, sharp=sure), class_map=[0, 1, None])
    spleen = Teacher(Finds(SPLEEN, sharp=sure), class_map=[0, None, 1])
    image = torch.full((1, 1, 4, 4), SPLEEN)
    y = Ensemble([liver, spleen])(image).softmax(1)
    assert y[0, :, 0, 0].tolist() == pytest.approx([1 / 199, 99 / 199, 99 / 199], rel=1e-4)
    assert not PixelEntropy().keeps(PixelEntropy().measure(Answers(y))).any()


def test_of_experts_that_claim_one_region_the_more_certain_wins():
    image, label = scenes(2)
    wrong = experts(SPLEEN, sharp=30.0)  # half the margin
    assert torch.equal(wrong(image).argmax(1), label)
    wrong = experts(SPLEEN, sharp=120.0)
    assert torch.equal(wrong(image).argmax(1), (label > 0).long())


def test_disagreement_is_no_rule_for_experts():
    """What one does not know it calls background, so that both disagree about organs that are right."""
    image, label = scenes(2)
    teachers = experts()
    answers = Answers(teachers(image).softmax(1), teachers.member_logits(image).softmax(2))
    measured = Disagreement().measure(answers)[:, 0]
    share = (label > 0).flatten(1).float().mean(1)
    torch.testing.assert_close(measured, share, rtol=0.2, atol=0)
