"""Network-agnostic transfer: learn the soft masks that teachers wrote for unlabelled images (NAKT).

Wang et al., "Network-agnostic knowledge transfer for medical image segmentation" (arXiv 2101.09560).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from torch.nn import functional as F

from meddistill.errors import ConfigError
from meddistill.exclusion import GreyLevelEntropy, Rule, TargetPixels, create_rules
from meddistill.losses import soft_cross_entropy, soft_target_dice_loss
from meddistill.losses.checks import check_choice, wide
from meddistill.methods.base import Batch, Method
from meddistill.methods.checks import require_teacher
from meddistill.methods.terms import check_weights

Target = Literal["soft", "hard"]


@dataclass(kw_only=True, eq=False)
class PseudoLabelTransfer(Method):
    """L = bce * cross-entropy + dice * soft Dice of the student with the teachers' mask y.

    y = softmax(teacher logits). The cross-entropy, binary for two classes, is the mean over all pixels; the
    soft Dice is taken over the foreground classes. Labels are never looked at. `rules` say which cases of
    the transferal set are left out before training; `meddistill.exclusion` applies them.

    Args:
        target: "soft" learns y, "hard" its most likely class.
        bce: weight of the cross-entropy.
        dice: weight of the soft Dice.
        exclude: rules in the order in which they apply, each a `Rule` or a mapping with its name and options.

    Raises:
        ConfigError: an option is out of range or unknown, or both weights are 0.

    Example:
        >>> import torch
        >>> image, label = torch.zeros(1, 1, 2, 2), torch.full((1, 2, 2), -100)
        >>> batch = Batch(image=image, label=label, index=torch.tensor([0]), case_id=["a"])
        >>> method = PseudoLabelTransfer(exclude=[{"name": "target_pixels", "alpha": 100}])
        >>> terms = method(torch.zeros(1, 2, 2, 2), batch, torch.zeros(1, 2, 2, 2))
        >>> terms["bce"], terms["dice"]
        (tensor(0.6931), tensor(0.4000))
        >>> method.rules
        (TargetPixels(alpha=100),)
    """

    needs_teacher = True
    needs_labels = False
    target: Target = "soft"
    bce: float = 1.0
    dice: float = 1.0
    exclude: Sequence[Rule | Mapping[str, Any]] = (TargetPixels(), GreyLevelEntropy())

    def __post_init__(self) -> None:
        check_choice("target", self.target, ("soft", "hard"))
        check_weights(bce=self.bce, dice=self.dice)
        if not self.bce and not self.dice:
            raise ConfigError("bce and dice are both 0; give one of them a weight above 0")
        self.rules = create_rules(self.exclude)

    def __call__(
        self,
        student_logits: Tensor,
        batch: Batch,  # noqa: ARG002 - part of the seam
        teacher_logits: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """`loss` and its terms `bce` and `dice`, before their weights.

        Args:
            student_logits: (B, K, *S).
            batch: not used; its labels least of all.
            teacher_logits: (B, K, *S).

        Raises:
            ValueError: shapes disagree, or there are no teacher logits.
            TeacherError: the teacher has another number of classes.
        """
        mask = self.mask(require_teacher(student_logits, teacher_logits))
        bce = soft_cross_entropy(student_logits, mask).mean()
        dice = soft_target_dice_loss(student_logits, mask).mean()
        return {"loss": self.bce * bce + self.dice * dice, "bce": bce.detach(), "dice": dice.detach()}

    def mask(self, teacher_logits: Tensor) -> Tensor:
        """What the student learns: y, or its most likely class as 0 and 1; (B, K, *S) in float32."""
        probabilities = wide(teacher_logits).softmax(1)
        if self.target == "soft":
            return probabilities
        chosen = F.one_hot(probabilities.argmax(1), probabilities.shape[1])
        return chosen.movedim(-1, 1).to(probabilities.dtype)
