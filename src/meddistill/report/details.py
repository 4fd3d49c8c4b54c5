"""What the page of a study tells beyond scores and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meddistill.evaluation.ranks import Ranks
from meddistill.evaluation.subgroups import Subgroup
from meddistill.report.dispute_parts import DisputeParts


@dataclass(frozen=True)
class Details:
    """Findings about the rows of a comparison, on its first set; what is empty is left out of the page.

    Args:
        ranks: of the rows over cases, one for each metric.
        subgroups: every row in every subgroup.
        subgroup_metric: the metric of `subgroups`.
        disputes: the cases in which the rows disagree most.
    """

    ranks: Sequence[Ranks] = ()
    subgroups: Sequence[Subgroup] = ()
    subgroup_metric: str = ""
    disputes: DisputeParts | None = None
