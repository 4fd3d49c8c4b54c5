"""Which cases stay, which rule removed each of the others, and what it takes to keep more."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from meddistill.errors import DataError
from meddistill.exclusion.base import Rule
from meddistill.files import csv_text


@dataclass(frozen=True)
class RuleCount:
    """How many cases one rule removed.

    Args:
        rule: the rule.
        removed: cases that it was the first to remove.
        alone: cases that it would remove without the other rules.
    """

    rule: Rule
    removed: int
    alone: int

    def to_json(self) -> dict[str, Any]:
        """Plain values: name, options, what it removes and how many."""
        options = {field.name: getattr(self.rule, field.name) for field in dataclasses.fields(self.rule)}  # type: ignore[arg-type]
        return {
            "name": self.rule.name,
            "options": options,
            "removes": self.rule.removes,
            "removed": self.removed,
            "alone": self.alone,
        }


@dataclass(frozen=True, eq=False)
class Exclusion:
    """What `exclude` decided.

    Args:
        ids: every case, in order.
        removed: for each case that is left out, the name of the first rule that removed it.
        counts: one for each rule, in order; `total == len(kept) + sum(count.removed for count in counts)`.
        measured: for each rule the numbers (N, C) of all cases.

    Example:
        >>> from meddistill.exclusion import TargetPixels
        >>> found = exclude([TargetPixels()], ["a", "b"], [torch.tensor([[300.0], [20.0]])])
        >>> found.kept, found.removed
        (('a',), {'b': 'target_pixels'})
        >>> print(found.summary())
        1 of 2 cases are kept
          target_pixels removed 1 (alone 1): fewer than 256 target pixels at 256 x 256
    """

    ids: tuple[str, ...]
    removed: Mapping[str, str]
    counts: tuple[RuleCount, ...]
    measured: tuple[Tensor, ...]

    @property
    def total(self) -> int:
        """How many cases there were."""
        return len(self.ids)

    @property
    def kept(self) -> tuple[str, ...]:
        """The cases that stay, in order."""
        return tuple(case for case in self.ids if case not in self.removed)

    def to_json(self) -> dict[str, Any]:
        """Plain values for the folder of a run."""
        return {
            "total": self.total,
            "kept": len(self.kept),
            "rules": [count.to_json() for count in self.counts],
            "kept_cases": list(self.kept),
            "removed_cases": dict(self.removed),
        }

    def to_csv(self) -> str:
        """A table with one row for each case: whether it is kept, what removed it, what was measured."""
        columns = [column for count in self.counts for column in count.rule.columns]
        numbers = torch.cat([torch.empty(self.total, 0), *self.measured], dim=1).tolist()
        rows = []
        for case, row in zip(self.ids, numbers, strict=True):
            by = self.removed.get(case, "")
            rows.append([case, "no" if by else "yes", by, *(f"{number:.6g}" for number in row)])
        return csv_text(["case", "kept", "removed_by", *columns], rows)

    def summary(self) -> str:
        """How many cases are kept, and a line for each rule."""
        lines = [f"{len(self.kept)} of {self.total} cases are kept"]
        lines += [
            f"  {count.rule.name} removed {count.removed} (alone {count.alone}): {count.rule.removes}"
            for count in self.counts
        ]
        return "\n".join(lines)

    def check_any_left(self) -> None:
        """Refuse to go on without any case.

        Raises:
            DataError: no case is left; says which rule removed most and how to relax it.
        """
        if not self.total:
            raise DataError("the transferal set is empty; check data.source and data.splits")
        if self.kept:
            return
        most = max(self.counts, key=lambda count: count.removed)
        its_own = [self.removed[case] == most.rule.name for case in self.ids]
        measured = self.measured[self.counts.index(most)][torch.tensor(its_own)]
        raise DataError(
            f"no case of the transferal set is left: rule {most.rule.name} removed {most.removed} of "
            f"{self.total} ({most.rule.removes}); {most.rule.relax(measured)}"
        )


def exclude(rules: Sequence[Rule], ids: Sequence[str], measured: Sequence[Tensor]) -> Exclusion:
    """Apply the rules in order; each sees the cases that those before it kept.

    Args:
        rules: at most one of each name.
        ids: N names of cases, each once.
        measured: for each rule the numbers (N, C) of all cases, see `Rule.measure`.

    Raises:
        ValueError: the numbers do not fit the cases or the rules, or a name occurs twice.
    """
    _check(rules, ids, measured)
    stays = torch.ones(len(ids), dtype=torch.bool)
    removed, counts = dict[str, str](), []
    for rule, numbers in zip(rules, measured, strict=True):
        here = stays.nonzero().flatten()
        gone = here[~rule.keeps(numbers[here])].tolist()
        stays[gone] = False
        removed |= {ids[index]: rule.name for index in gone}
        counts.append(RuleCount(rule, len(gone), int((~rule.keeps(numbers)).sum())))
    in_order = {case: removed[case] for case in ids if case in removed}
    return Exclusion(tuple(ids), in_order, tuple(counts), tuple(measured))


def _check(rules: Sequence[Rule], ids: Sequence[str], measured: Sequence[Tensor]) -> None:
    if len(set(ids)) != len(ids) or len({rule.name for rule in rules}) != len(rules):
        raise ValueError("a case or a rule occurs twice")
    shapes = [tuple(numbers.shape) for numbers in measured]
    if shapes != [(len(ids), len(rule.columns)) for rule in rules]:
        raise ValueError(f"numbers of the shapes {shapes} do not fit {len(ids)} cases and {len(rules)} rules")
