"""What `loss_cost.py` times: losses of one image size and class count, and the student's step beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddistill.losses import label_smoothing_map
from meddistill.methods import Batch, Context, Distillation, PacedDistillation, Supervised
from meddistill.models import ModelSpec
from step_task import Network

TEMPERATURE = 4.5
CONFIDENCE_TEMPERATURE = 1.5

STUDENTS = {
    2: Network("pcd/unet", {"width": 16}),
    3: Network("monai/unet", {"channels": [16, 32, 64, 128], "strides": [2, 2, 2], "num_res_units": 1}),
}
"""The student whose step is the measure, by the number of axes of its images."""

Size = tuple[int, ...]
"""Images in a batch, then pixels by axis."""

Loss = Callable[[Tensor], Tensor]
"""Student logits in, scalar out."""


class Task:
    """Logits, labels and losses of one size and class count.

    Args:
        size: (B, H, W) or (B, D, H, W).
        classes: K.
        students: the networks, by number of axes.
        seed: of labels, logits and weights.

    Raises:
        ValueError: a mask of P-CD lets everything in, which would cost nothing.
    """

    def __init__(self, size: Size, classes: int, students: Mapping[int, Network], seed: int) -> None:
        torch.manual_seed(seed)
        self.size, self.classes = size, classes
        self.labels = blobs(size, classes)
        one_hot = F.one_hot(self.labels, classes).movedim(-1, 1)
        self.teacher = (6.0 * one_hot + torch.randn(one_hot.shape)).contiguous()
        self.batch = Batch(
            image=torch.rand((size[0], 1, *size[1:])),
            label=self.labels,
            index=torch.arange(size[0]),
            case_id=[str(i) for i in range(size[0])],
        )
        self.methods = {"supervised": Supervised(), "kd": Distillation(temperature=TEMPERATURE)}
        self.methods["pcd"] = PacedDistillation(temperature=TEMPERATURE)
        context = Context(classes, 100, lambda: [(self.teacher, self.labels)], CONFIDENCE_TEMPERATURE)
        for method in self.methods.values():
            method.prepare(context)
        self.threshold = self.methods["pcd"].status()["threshold"]
        if not 0.5 < self.threshold < 1:
            raise ValueError(f"the threshold {self.threshold} of P-CD leaves one of its masks without work")
        network = students[len(size) - 1]
        spec = ModelSpec(network.name, 1, classes, dims=len(size) - 1, options=dict(network.options))
        self.student = spec.build().train()
        self.optimizer = torch.optim.Adam(self.student.parameters())

    def losses(self) -> dict[str, Loss]:
        """The losses that have a turn in a round."""
        return {
            "supervised/plain": self.plain_supervised,
            "supervised/method": self.of("supervised"),
            "kd/plain": self.plain_kd,
            "kd/method": self.of("kd"),
            "pcd/method": self.of("pcd"),
        }

    def of(self, method: str) -> Loss:
        """The loss of a method, teacher logits given."""
        return lambda logits: self.methods[method](logits, self.batch, self.teacher)["loss"]

    def plain_supervised(self, logits: Tensor) -> Tensor:
        """Cross-entropy as in PyTorch's tutorials."""
        return nn.CrossEntropyLoss()(logits, self.labels)

    def plain_kd(self, logits: Tensor) -> Tensor:
        """The loss of distillation tutorials; "batchmean" divides by the batch, not by the pixels."""
        soft = nn.KLDivLoss(reduction="batchmean")(
            F.log_softmax(logits / TEMPERATURE, dim=1), F.softmax(self.teacher / TEMPERATURE, dim=1)
        )
        return self.plain_supervised(logits) + soft * TEMPERATURE**2 / self.labels[0].numel()

    def plain_pcd(self, logits: Tensor) -> Tensor:
        """The formula of P-CD, for the comparison of values; not timed."""
        softened = F.log_softmax(logits / TEMPERATURE, 1), F.softmax(self.teacher / TEMPERATURE, 1)
        k = F.kl_div(*softened, reduction="none").sum(1) * TEMPERATURE**2
        e = F.cross_entropy(logits, self.labels, reduction="none")
        own = self.labels.unsqueeze(1)
        confidence = F.softmax(self.teacher / CONFIDENCE_TEMPERATURE, 1).gather(1, own).squeeze(1)
        certainty = label_smoothing_map(self.labels, self.classes).amax(1)
        return ((k + e) * (confidence >= self.threshold) * (certainty >= self.threshold)).mean()

    def step(self, loss: Loss) -> tuple[float, float]:
        """One step of the student.

        Returns:
            Seconds of the loss with its gradient at the logits, and seconds of all the rest.
        """
        start = time.perf_counter()
        logits = self.student(self.batch["image"])
        leaf = logits.detach().requires_grad_()
        before = time.perf_counter()
        loss(leaf).backward()
        after = time.perf_counter()
        self.optimizer.zero_grad()
        logits.backward(leaf.grad)
        self.optimizer.step()
        return after - before, time.perf_counter() - after + before - start


def blobs(size: Size, classes: int) -> Tensor:
    """Labels in regions some pixels wide, with all classes equally frequent."""
    coarse = torch.rand((size[0], 1, *(max(2, length // 8) for length in size[1:])))
    mode: Any = "bilinear" if len(size) == 3 else "trilinear"
    smooth = F.interpolate(coarse, size=size[1:], mode=mode).squeeze(1)
    rank = smooth.flatten().argsort().argsort().view(size)
    return rank * classes // rank.numel()
