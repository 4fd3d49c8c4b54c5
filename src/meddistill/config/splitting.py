"""The section of a recipe that says how cases are divided."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meddistill.config.section import Fraction, NotNegative, Section


class PartConfig(Section):
    """One of `of` disjoint parts of the groups of the training split, counted from 0.

    Parts are balanced by stratum and drawn by `splits.seed`; together they are the whole split, so that each
    can stand for the data of one hospital.
    """

    index: NotNegative
    of: Annotated[int, Field(ge=2)]


class SubsetConfig(Section):
    """One of `of` overlapping subsets of the groups of the training split, counted from 0.

    Each has the share `fraction` of the groups, and of those of each stratum, drawn by `splits.seed`
    independently of the others. Each can teach a teacher of an ensemble.
    """

    index: NotNegative
    of: Annotated[int, Field(ge=2)]
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.7


class SplitConfig(Section):
    """How cases are divided: by JSON lists, by the source's own column, or by fractions.

    `part` narrows `train` to a part of its groups, then `carve` cuts further splits out of it, as fractions
    of its groups. `fraction` is the share of the groups of each split but `test` whose labels are used, at
    least one; a smaller one is a part of a larger one. `subset` comes last and narrows `train` alone, so that
    all teachers of an ensemble and their student have the same selection split. Lists are looked for as
    given, then below the root of the source. Images without labels need none of this: all of them are
    training cases.
    """

    files: dict[Literal["train", "selection", "calibration", "test"], str] | None = None
    fractions: dict[Literal["train", "selection", "calibration", "test"], Fraction] | None = None
    part: PartConfig | None = None
    carve: dict[Literal["selection", "calibration"], Fraction] | None = None
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    subset: SubsetConfig | None = None
    seed: NotNegative = 0
