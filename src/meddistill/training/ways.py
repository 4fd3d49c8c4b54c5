"""Ways to ask a student how uncertain it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from meddistill.errors import ConfigError, unknown_name
from meddistill.evaluation.members import dropout_members, turned_members


@dataclass(frozen=True)
class Way:
    """Whose answers are mixed, and what is measured of the mixture.

    Args:
        others: networks that answer beside the student.
        own: whether the student's own answer belongs to the mixture.
        measures: names of measures, the first leads.
    """

    others: tuple[nn.Module, ...] = ()
    own: bool = True
    measures: tuple[str, ...] = ("entropy",)

    @property
    def answers(self) -> int:
        """How many answers are mixed."""
        return len(self.others) + self.own


@dataclass(frozen=True)
class Asked:
    """What a way may need.

    Args:
        student: answers about images; calibrated, where that is wanted.
        size: (*S) of the images that it sees.
        members: students of other runs.
        passes: how often dropout is drawn.
        seed: of dropout.
    """

    student: nn.Module
    size: tuple[int, ...]
    members: tuple[nn.Module, ...] = ()
    passes: int = 10
    seed: int = 0


def way_of(kind: str, asked: Asked) -> Way:
    """The way called `kind`.

    Args:
        kind: a name in `WAYS`.
        asked: the student and what is needed beside it.

    Raises:
        ConfigError: an unknown way, dropout for a network without any, or an ensemble without members.

    Example:
        >>> way = way_of("tta", Asked(nn.Identity(), (8, 8)))
        >>> way.answers, way.measures
        (8, ('entropy', 'disagreement'))
    """
    check_way(kind, asked.members)
    return WAYS[kind](asked)


def check_way(kind: str, members: Sequence[object]) -> None:
    """Refuse a way before anything is computed.

    Raises:
        ConfigError: an unknown way, an ensemble without members, or members without an ensemble.
    """
    if kind not in WAYS:
        raise ConfigError(f"--uncertainty: {unknown_name('way', kind, WAYS)}")
    if kind == "ensemble" and not members:
        raise ConfigError("--uncertainty ensemble needs other runs to disagree with; give --members RUN...")
    if kind != "ensemble" and members:
        raise ConfigError(f"--members belong to --uncertainty ensemble, not to {kind}; give one or the other")


_BOTH = ("entropy", "disagreement")

WAYS: Mapping[str, Callable[[Asked], Way]] = {
    "entropy": lambda _: Way(),
    "mc_dropout": lambda asked: Way(
        dropout_members(asked.student, asked.passes, seed=asked.seed), own=False, measures=_BOTH
    ),
    "tta": lambda asked: Way(turned_members(asked.student, asked.size), measures=_BOTH),
    "ensemble": lambda asked: Way(asked.members, measures=("disagreement", "entropy")),
}
"""What each way mixes: one answer, answers with dropout on, about turned images, or of several runs."""
