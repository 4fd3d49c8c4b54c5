"""Mixed supervision with hard pseudo-labels in the place of the entropy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from meddistill.losses import cross_entropy
from meddistill.methods.mixed import ByPart, MixedSupervision
from meddistill.methods.terms import hard_labels, mean


@dataclass(kw_only=True, eq=False)
class HardPseudoLabels(MixedSupervision):
    """L = L_s + w_weak L_w + w_kd L_kd + w_ent L_pl: the lower branch learns its own most likely class.

    L_pl is the cross-entropy of the lower branch with its own argmax, a bound on its entropy that pushes
    harder. The options are those of `MixedSupervision`; `w_ent` and `ent_on` belong to L_pl.

    Example:
        >>> HardPseudoLabels(ent_on="weak").confident
        'pseudo'
    """

    confident = "pseudo"

    def _confidence(self, lower: ByPart) -> Tensor:
        """Cross-entropy of the lower branch with its own argmax."""
        logits = lower(self.ent_on)
        return mean(cross_entropy(logits, hard_labels(logits)))
