"""Several teachers as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from meddistill.errors import ConfigError, TeacherError
from meddistill.teachers.accuracy import Check, ScoreTally
from meddistill.teachers.base import BaseTeacher
from meddistill.teachers.fingerprint import json_digest
from meddistill.teachers.joining import (
    CONFIDENCE,
    Combination,
    GivenWeights,
    MemberJoin,
    confidence_table,
    join_function,
    weight_table,
)
from meddistill.teachers.member_weights import fitted_weights, overall_scores


class Ensemble(BaseTeacher):
    """Teachers whose answers are joined; it is a teacher itself.

    Members may differ in network, input size, channels, normalisation and in the classes that they know (None
    in their class maps); `meddistill.teachers.joining` says how their answers are joined then.

    Args:
        members: the teachers; each knows the background, class 0, and each class is known by one of them.
        combine: `probabilities` (weighted mean of probabilities) or `logits` (weighted mean of logits).
        weights: None for equal ones, one number for each member, or for each member one for each class.
            They are normalised. "confidence" weighs each member anew in each case, by how sure it is of it,
            see `meddistill.teachers.joining`.
        independent: the classes are labels that do not exclude each other, each joined by itself.
        name: what to call it; made of the members' names by default.

    Attributes:
        member_names: the members' names; those that occur twice are numbered.
        given_weights: the weights before they were normalised; None for equal ones.
        scores: what the members scored where they were weighed by that, else None.
        best: position of the member that answers for all, see `choose_best`; else None.

    Raises:
        TeacherError: no member, other numbers of classes, a class that nobody knows, or weights that do not
            fit.
        ConfigError: an unknown combination, or confidence in labels that do not exclude each other.

    Example:
        >>> from meddistill.teachers import Teacher
        >>> ensemble = Ensemble([Teacher(nn.Conv2d(1, 2, 1)), Teacher(nn.Conv2d(1, 2, 3, padding=1))])
        >>> ensemble.name, ensemble(torch.rand(1, 1, 4, 4)).shape
        ('ensemble of Conv2d 1, Conv2d 2', torch.Size([1, 2, 4, 4]))
    """

    scores: tuple[float, ...] | None = None
    best: int | None = None

    def __init__(
        self,
        members: Sequence[BaseTeacher],
        *,
        combine: Combination = "probabilities",
        weights: GivenWeights = None,
        independent: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self.member_names = _numbered([member.name for member in members])
        self.name = name or f"ensemble of {', '.join(self.member_names)}"
        if independent and weights == CONFIDENCE:
            raise ConfigError(
                "teacher.weights: confidence compares classes that exclude each other; of several labels "
                "give uniform, validation or validation_per_class"
            )
        _check_classes(self.name, self.member_names, members, independent=independent)
        self.num_classes = members[0].num_classes
        self.class_names = _class_names(members)
        self.combine = combine
        self.independent = independent
        self._join = join_function(combine, independent=independent)
        known = torch.tensor([member.known for member in members])
        self._complete = bool(known.all())
        self.register_buffer("known_table", known, persistent=False)
        self.set_weights(weights)
        self.members = nn.ModuleList(members)
        self.freeze()

    @property
    def teachers(self) -> list[BaseTeacher]:
        """The members, in order."""
        return [cast(BaseTeacher, member) for member in self.members]

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The networks of all members."""
        return tuple(network for member in self.teachers for network in member.networks)

    @property
    def device(self) -> torch.device:
        """Where the teachers compute."""
        return self.get_buffer("weights").device

    def compute(self, image: Tensor) -> Tensor:
        """The joined logits; those of the best member where one was chosen."""
        if self.best is not None:
            return self.teachers[self.best].compute(image)
        return self.join(self.compute_members(image))

    def member_logits(self, image: Tensor) -> Tensor:
        """The logits of each member (M, B, K, *S), without a graph; minus infinity for unknown classes.

        `join` makes of them what the ensemble answers.

        Raises:
            TeacherError: the channels do not fit, or the members answer differently.
        """
        with torch.inference_mode():
            logits = self.compute_members(image)
        return logits.clone()

    def compute_members(self, image: Tensor) -> Tensor:
        """The logits of each member (M, B, K, *S), computed under `torch.inference_mode()`."""
        logits = [member.compute(image) for member in self.teachers]
        if len({answer.ndim for answer in logits}) > 1:
            raise TeacherError(
                f"teacher {self.name!r}: some members answer once per image and others for each pixel; "
                "join only teachers of one task"
            )
        return torch.stack(logits)

    def join(self, logits: Tensor) -> Tensor:
        """The members' logits (M, B, K, *S) as one (B, K, *S)."""
        known = self.get_buffer("known_table")
        by_case = self.given_weights == CONFIDENCE
        weights = confidence_table(logits, known) if by_case else self.get_buffer("weights")
        return self._join(logits, weights, None if self._complete else known)

    def joiner(self) -> Callable[[Tensor], Tensor]:
        """What joins the members' logits (B, M, K, *S) on the CPU, with the weights of now."""
        weights = None if self.given_weights == CONFIDENCE else self.get_buffer("weights").cpu()
        return MemberJoin(self._join, weights, self.get_buffer("known_table").cpu())

    def check_channels(self, given: int) -> None:
        """Refuse images whose number of channels one of the members cannot take.

        Raises:
            TeacherError: it cannot.
        """
        for member in self.teachers:
            member.check_channels(given)

    def fit_weights(self, batches: Iterable[Mapping[str, Any]], *, per_class: bool = False) -> list[Check]:
        """Weigh the members by their scores on labelled data, in one pass, and return the scores.

        The weight is the mean Dice over the foreground classes that the member knows, or its accuracy on the
        images of such classes, or its mean AUROC of labels that do not exclude each other. With `per_class`
        it is the Dice (recall, AUROC) of the class itself, and the former for the background and for classes
        that do not occur.

        Args:
            batches: mappings with `image` (B, C, *S) and `label` (B, *S), (B,) or (B, K).
            per_class: fit a weight for each member and class instead of one for each member.

        Raises:
            TeacherError: no labelled case, or no member that scores above 0.
        """
        checks = self.score_members(batches)
        scores, known = self.overall(checks), [member.known for member in self.teachers]
        self.set_weights(fitted_weights(checks, scores, known, per_class=per_class))
        self.scores = tuple(scores)
        return checks

    def choose_best(self, scores: Sequence[float]) -> None:
        """Let the member with the highest of these scores answer for all; the first among equals.

        Raises:
            TeacherError: the members know different classes, so that their scores cannot be compared.
        """
        if not self._complete:
            raise TeacherError(
                f"teacher {self.name!r}: members that know different classes cannot be compared by one "
                "score; give weights uniform, validation or validation_per_class"
            )
        best = max(range(len(self.members)), key=lambda number: scores[number])
        self.set_weights([float(number == best) for number in range(len(self.members))])
        self.scores, self.best = tuple(scores), best
        self.name = f"{self.member_names[best]} (best of {len(self.members)})"

    def score_members(self, batches: Iterable[Mapping[str, Any]]) -> list[Check]:
        """What each member scores on labelled data, in one pass; see `fit_weights`."""
        tallies = [ScoreTally(self.num_classes) for _ in self.members]
        for batch in batches:
            image, label = batch["image"].to(self.device), batch["label"].to(self.device)
            for member, tally in zip(self.teachers, tallies, strict=True):
                tally.update(member(image), label)
        return [
            tally.result(name, class_names=self.class_names)
            for name, tally in zip(self.member_names, tallies, strict=True)
        ]

    def overall(self, checks: Sequence[Check]) -> list[float]:
        """One score for each member out of `score_members`, over the classes that it knows.

        Raises:
            TeacherError: no case shows a class that a member knows, or no member scores above 0.
        """
        return overall_scores(self.name, checks, [member.known for member in self.teachers])

    def set_weights(self, weights: GivenWeights) -> None:
        """Weigh the members anew; see the argument of that name.

        Raises:
            TeacherError: the weights do not fit.
        """
        known = self.get_buffer("known_table")
        table = weight_table(None if weights == CONFIDENCE else weights, known.cpu()).to(known.device)
        self.register_buffer("weights", table, persistent=False)
        self.given_weights = weights
        self.scores = self.best = None

    def weights_digest(self) -> str:
        """SHA-256 over those of the members, in order."""
        return json_digest([member.weights_digest() for member in self.teachers])

    def preprocessing(self) -> dict[str, Any]:
        """How the members are joined, and the preprocessing of each."""
        return {
            "combine": self.combine,
            "weights": self._shown_weights(),
            "members": [member.preprocessing() for member in self.teachers],
            **({"independent": True} if self.independent else {}),
        }

    def describe(self) -> dict[str, Any]:
        """Name, kind, parameters of all members, class names, how they are joined, and each member.

        With the members' scores and the name of the best where they were weighed or chosen by them.
        """
        members = {
            name: member.describe() for name, member in zip(self.member_names, self.teachers, strict=True)
        }
        known = [member["parameters"] for member in members.values()]
        return {
            "name": self.name,
            "kind": "ensemble",
            "parameters": None if None in known else sum(known),
            "class_names": list(self.class_names),
            "combine": self.combine,
            "weights": self._shown_weights(),
            **self._shown_scores(),
            "members": members,
        }

    def _shown_scores(self) -> dict[str, Any]:
        """What the members scored, and which is the best, where that was asked for."""
        shown: dict[str, Any] = {}
        if self.scores is not None:
            shown["scores"] = dict(zip(self.member_names, self.scores, strict=True))
        if self.best is not None:
            shown["best"] = self.member_names[self.best]
        return shown

    def _shown_weights(self) -> str | list[list[float]]:
        """The normalised weights, or the name of the rule that finds them for each case."""
        table: list[list[float]] = self.get_buffer("weights").tolist()
        return CONFIDENCE if self.given_weights == CONFIDENCE else table


def _numbered(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that occur twice."""
    counts, seen = Counter(names), Counter[str]()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(f"{name} {seen[name]}" if counts[name] > 1 else name)
    return numbered


def _check_classes(
    name: str, member_names: Sequence[str], members: Sequence[BaseTeacher], *, independent: bool
) -> None:
    if not members:
        raise TeacherError("an ensemble needs at least one member")
    for member_name, member in zip(member_names, members, strict=True):
        if member.num_classes != members[0].num_classes:
            raise TeacherError(
                f"teacher {name!r}: {member_names[0]!r} answers with {members[0].num_classes} classes and "
                f"{member_name!r} with {member.num_classes}; give class_map with one entry for each class of "
                "the data"
            )
        if not member.known[0] and not independent:
            raise TeacherError(
                f"teacher {name!r}: {member_name!r} does not know the background, class 0, by which "
                f"different label sets are joined; give it the network's class in class_map"
            )
    for k in range(members[0].num_classes):
        if not any(member.known[k] for member in members):
            raise TeacherError(f"teacher {name!r}: no member knows class {k}; each needs one that does")


def _class_names(members: Sequence[BaseTeacher]) -> tuple[str, ...]:
    """Each class by the name that the first member has for it; none where nobody has one for some class."""
    named = [member for member in members if member.class_names]
    names = [
        next((member.class_names[k] for member in named if member.known[k]), None)
        for k in range(members[0].num_classes)
    ]
    found = tuple(name for name in names if name is not None)
    return found if len(found) == len(names) else ()
