"""Ways to train a student, one file per paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meddistill.methods.base import Batch, Context, Method
from meddistill.methods.cross_pseudo import CrossPseudoSupervision, TwinLogits
from meddistill.methods.decoupled import Decoupled
from meddistill.methods.distillation import Distillation
from meddistill.methods.hard_pseudo import HardPseudoLabels
from meddistill.methods.mean_teacher import MeanTeacher, TaughtLogits
from meddistill.methods.mixed import MixedSupervision
from meddistill.methods.paced import PacedDistillation
from meddistill.methods.rows import with_rows
from meddistill.methods.single_branch import SingleBranch
from meddistill.methods.supervised import Supervised
from meddistill.methods.transfer import PseudoLabelTransfer
from meddistill.registry import build

METHODS: dict[str, Callable[..., Method]] = {
    "supervised": Supervised,
    "distillation": Distillation,
    "paced": PacedDistillation,
    "mixed": MixedSupervision,
    "single_branch": SingleBranch,
    "decoupled": Decoupled,
    "pseudo_labels": HardPseudoLabels,
    "mean_teacher": MeanTeacher,
    "cross_pseudo": CrossPseudoSupervision,
    "pseudo_label_transfer": PseudoLabelTransfer,
}
"""The methods that a recipe can name."""


def create_method(name: str, **options: Any) -> Method:
    """Build the method that a recipe names.

    Args:
        name: one of `METHODS`.
        options: keyword arguments of its class.

    Raises:
        ConfigError: the name or an option is unknown, or a value is out of range.

    Example:
        >>> create_method("paced", mode="tpl", beta=0.9).beta
        0.9
        >>> create_method("paced", bta=0.9)
        Traceback (most recent call last):
        ...
        meddistill.errors.ConfigError: unknown option of method paced 'bta'; did you mean 'beta'?
    """
    method: Method = build("method", name, METHODS, options)
    return method


__all__ = [
    "METHODS",
    "Batch",
    "Context",
    "CrossPseudoSupervision",
    "Decoupled",
    "Distillation",
    "HardPseudoLabels",
    "MeanTeacher",
    "Method",
    "MixedSupervision",
    "PacedDistillation",
    "PseudoLabelTransfer",
    "SingleBranch",
    "Supervised",
    "TaughtLogits",
    "TwinLogits",
    "create_method",
    "with_rows",
]
