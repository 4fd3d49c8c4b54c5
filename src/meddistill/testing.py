"""Tests that every loss and every method must pass; inherit them for your own.

Name the subclass `Test...`, give it `loss` (or `make_method`), and pytest collects the rest:

    class TestMyLoss(DistillationLossTestCase):
        def loss(self, student_logits, labels, teacher_logits):
            return my_loss(student_logits, teacher_logits)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from meddistill.losses import IGNORE_INDEX
from meddistill.methods import Batch, Context, Method

Inputs = tuple[Tensor, Tensor, Tensor]


def make_inputs(shape: tuple[int, ...], *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Inputs:
    """Random student logits, labels and teacher logits for logits of `shape` (B, C, *S).

    Example:
        >>> student, labels, teacher = make_inputs((2, 3, 4, 5))
        >>> labels.shape, teacher.shape
        (torch.Size([2, 4, 5]), torch.Size([2, 3, 4, 5]))
    """
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (2 * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(shape[1], shape[:1] + shape[2:], generator=generator)
    return student.to(dtype), labels, teacher.to(dtype)


def make_batch(labels: Tensor) -> Batch:
    """A batch around `labels` (B, *S), with blank images of one channel.

    Example:
        >>> make_batch(torch.zeros(2, 4, 4))["case_id"]
        ['case-0', 'case-1']
    """
    return Batch(
        image=torch.zeros((labels.shape[0], 1, *labels.shape[1:]), device=labels.device),
        label=labels,
        index=torch.arange(len(labels), device=labels.device),
        case_id=[f"case-{i}" for i in range(len(labels))],
    )


def gradient(loss: Tensor, leaf: Tensor) -> Tensor:
    """Gradient of the sum of `loss` with respect to `leaf`.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> gradient(3 * x, x)
        tensor([3., 3.])
    """
    return torch.autograd.grad(loss.sum(), leaf)[0]


class DistillationLossTestCase(ABC):
    """Properties of a loss of student logits (B, C, *S), labels (B, *S) and teacher logits (B, C, *S).

    `shapes` are the logits' shapes to try; `uses_labels` says that ignored pixels must have no effect.
    """

    shapes: ClassVar[tuple[tuple[int, ...], ...]] = ((3, 4), (2, 3, 5, 4), (2, 3, 4, 3, 4))
    uses_labels: ClassVar[bool] = True

    @abstractmethod
    def loss(self, student_logits: Tensor, labels: Tensor, teacher_logits: Tensor) -> Tensor:
        """The loss under test: a map (B, *S) or a scalar."""

    def test_is_a_map_or_a_scalar(self) -> None:
        """The loss has the shape of the labels, or none."""
        for shape in self.shapes:
            student, labels, teacher = make_inputs(shape)
            assert self.loss(student, labels, teacher).shape in (labels.shape, torch.Size())

    def test_gradient_agrees_with_finite_differences(self) -> None:
        """`torch.autograd.gradcheck` in double precision."""
        for shape in self.shapes:
            student, labels, teacher = make_inputs(shape)
            student.requires_grad_()
            assert torch.autograd.gradcheck(
                lambda s: self.loss(s, labels, teacher),  # noqa: B023 - called at once
                (student,),
                fast_mode=True,
            )

    def test_low_precision_gives_finite_float32(self) -> None:
        """Large bfloat16 logits give a finite float32 loss and a finite gradient."""
        for shape in self.shapes:
            student, labels, teacher = make_inputs(shape, dtype=torch.bfloat16)
            student = (student * 50).requires_grad_()
            loss = self.loss(student, labels, teacher * 50)
            assert loss.dtype == torch.float32
            assert loss.isfinite().all()
            assert gradient(loss, student).isfinite().all()

    def test_teacher_gets_no_gradient(self) -> None:
        """The teacher is a constant."""
        for shape in self.shapes:
            student, labels, teacher = make_inputs(shape)
            teacher.requires_grad_()
            loss = self.loss(student.requires_grad_(), labels, teacher).sum()
            (reached,) = torch.autograd.grad(loss, [teacher], allow_unused=True)
            assert reached is None

    def test_ignored_pixels_have_no_effect(self) -> None:
        """What the student and the teacher say at ignored pixels changes neither loss nor gradient."""
        for shape in self.shapes if self.uses_labels else ():
            student, labels, teacher = make_inputs(shape)
            ignored = torch.zeros_like(labels, dtype=torch.bool)
            ignored[-1] = True
            ignored[0].view(-1)[0] = True
            labels = labels.masked_fill(ignored, IGNORE_INDEX)
            noise = ignored.unsqueeze(1) * make_inputs(shape, seed=1)[0]
            changed = (student + noise).requires_grad_()
            loss = self.loss(changed, labels, teacher - noise)
            torch.testing.assert_close(loss, self.loss(student, labels, teacher))
            assert not gradient(loss, changed).movedim(1, -1)[ignored].any()

    def test_order_of_images_does_not_matter(self) -> None:
        """A reordered batch gives the reordered map, or the same scalar."""
        for shape in self.shapes:
            student, labels, teacher = make_inputs(shape)
            order = torch.arange(shape[0] - 1, -1, -1)
            loss = self.loss(student, labels, teacher)
            reordered = self.loss(student[order], labels[order], teacher[order])
            torch.testing.assert_close(reordered, loss[order] if loss.ndim else loss)

    def test_names_of_classes_do_not_matter(self) -> None:
        """Reordered classes, in logits and labels alike, give the same loss."""
        for shape in self.shapes:
            student, labels, teacher = make_inputs(shape)
            order = torch.arange(shape[1] - 1, -1, -1)
            renamed = self.loss(student[:, order], order[labels], teacher[:, order])
            torch.testing.assert_close(renamed, self.loss(student, labels, teacher))

    def test_mirrored_images_give_mirrored_losses(self) -> None:
        """A flip of the last axis flips the map, or keeps the scalar."""
        for shape in self.shapes:
            if len(shape) > 2:
                student, labels, teacher = make_inputs(shape)
                loss = self.loss(student, labels, teacher)
                mirrored = self.loss(student.flip(-1), labels.flip(-1), teacher.flip(-1))
                torch.testing.assert_close(mirrored, loss.flip(-1) if loss.ndim else loss)

    def test_reads_nothing_back_from_the_device(self) -> None:
        """The loss runs on the meta device, where every `.item()` or branch on data fails."""
        for shape in self.shapes:
            student, labels, teacher = (tensor.to("meta") for tensor in make_inputs(shape))
            assert self.loss(student, labels, teacher).device.type == "meta"


class MethodTestCase(DistillationLossTestCase):
    """Properties of a method; `epochs` is the length of the training it is prepared for.

    `learns_from_labels_alone` is False for methods that learn from images without any label too.
    """

    epochs: ClassVar[int] = 10
    learns_from_labels_alone: ClassVar[bool] = True

    @abstractmethod
    def make_method(self) -> Method:
        """The method under test, not yet prepared."""

    def answer(self, student_logits: Tensor, other_logits: Tensor) -> Any:  # noqa: ARG002 - for subclasses
        """What the method is called with: the logits of the student, or an answer made of them and others."""
        return student_logits

    def prepared(self, shape: tuple[int, ...]) -> Method:
        """The method after `prepare` on random teacher logits of `shape`."""
        _, labels, teacher = make_inputs(shape)
        method = self.make_method()
        method.prepare(
            Context(
                num_classes=shape[1],
                epochs=self.epochs,
                teacher_batches=lambda: [(teacher, labels)],
                teacher_temperature=1.5,
            )
        )
        return method

    def loss(self, student_logits: Tensor, labels: Tensor, teacher_logits: Tensor) -> Tensor:
        """The method's loss in its first epoch."""
        answer = self.answer(student_logits, teacher_logits.detach())
        method = self.prepared(tuple(student_logits.shape))
        return method(answer, make_batch(labels), teacher_logits)["loss"]

    def test_terms_are_detached_scalars(self) -> None:
        """Only the loss carries a gradient."""
        for shape in self.shapes:
            student, labels, teacher = make_inputs(shape)
            answer = self.answer(student.requires_grad_(), teacher)
            terms = self.prepared(shape)(answer, make_batch(labels), teacher)
            assert terms.pop("loss").requires_grad
            assert terms
            assert all(term.ndim == 0 and not term.requires_grad for term in terms.values())

    def test_nothing_labelled_gives_zero(self) -> None:
        """A batch without labels gives a loss and a gradient of 0."""
        for shape in self.shapes if self.learns_from_labels_alone else ():
            student, labels, teacher = make_inputs(shape)
            nothing = make_batch(torch.full_like(labels, IGNORE_INDEX))
            answer = self.answer(student.requires_grad_(), teacher)
            loss = self.prepared(shape)(answer, nothing, teacher)["loss"]
            assert loss == 0
            assert not gradient(loss, student).any()

    def test_saved_state_replaces_preparation(self) -> None:
        """A method that loads the state of a prepared one agrees with it in every epoch."""
        for shape in self.shapes:
            student, labels, teacher = make_inputs(shape, seed=2)
            first, second = self.prepared(shape), self.make_method()
            second.load_state_dict(first.state_dict())
            for epoch in range(self.epochs):
                first.on_epoch_start(epoch)
                second.on_epoch_start(epoch)
                batch, answer = make_batch(labels), self.answer(student, teacher)
                assert first.status() == second.status()
                losses = [method(answer, batch, teacher)["loss"] for method in (first, second)]
                assert torch.equal(*losses)
