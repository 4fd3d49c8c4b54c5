"""How the logits of several teachers become one: means of probabilities or of logits, joined label sets.

With z_ik the logit, p_ik the probability and w_ik the weight that member i has for class k:

- All members know all classes. `probabilities`: p_k is proportional to sum_i w_ik p_ik (a linear opinion
pool);
  `logits`: z_k = sum_i w_ik z_ik (the geometric mean of the probabilities, normalised).
- Label sets differ. Each class is compared with the background (class 0), which every member knows and where
it
  counts what it does not know. `probabilities`: odds_c = sum_i w_ic p_ic / sum_i w_ic p_i0 over the members
  that know c; `logits`: log odds_c = sum_i w_ic (z_ic - z_i0) over them. The classes are exclusive: p_0 is
  proportional to 1 and p_c to odds_c.

Weights may also differ from case to case (w_ibk), as with the members' confidence:

  w_ib is proportional to c_ib = 1 - H_ib / log K_i, with H_ib the mean entropy of p_ib over the pixels of
  case b and K_i the number of classes that member i knows. A member that is sure has 1, one that takes all
  its classes for equally likely 0; where all members have 0, they weigh the same.

- The classes are labels that do not exclude each other. Each is joined by itself, over the members that know
  it: `probabilities`: p_k = sum_i w_ik sigmoid(z_ik); `logits`: z_k = sum_i w_ik z_ik.

All of it is computed on logarithms, so that a member that is sure (p = 0 in float32) leaves the result
finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from meddistill.errors import ConfigError, TeacherError, unknown_name

Combination = Literal["probabilities", "logits"]
CONFIDENCE: Final = "confidence"
"""Weights that are found anew for each case."""

Join = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Weights = Sequence[float] | Sequence[Sequence[float]]
"""One number for each member, or for each member one number for each class."""

GivenWeights = Weights | Literal["confidence"] | None
"""What an ensemble takes as weights; None for equal ones."""


def join_function(name: str, *, independent: bool = False) -> Join:
    """The function that joins logits as `name` says.

    Args:
        name: a `Combination`.
        independent: the classes are labels that do not exclude each other.

    Raises:
        ConfigError: it is no `Combination`.
    """
    if name not in get_args(Combination):
        raise ConfigError(unknown_name("teacher.combine", name, get_args(Combination)))
    if independent:
        return join_label_probabilities if name == "probabilities" else join_label_logits
    return join_probabilities if name == "probabilities" else join_logits


def join_probabilities(logits: Tensor, weights: Tensor, known: Tensor | None = None) -> Tensor:
    """The logarithm of the weighted mean of probabilities, or of their odds where label sets differ.

    Args:
        logits: (M, B, K, *S), minus infinity for the classes that a member does not know.
        weights: (M, K), or (M, B, K) for weights of each case; 0 for those; each class adds up to 1.
        known: (M, K), true where a member knows a class; None when each knows all.

    Example:
        >>> logits = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).log()
        >>> join_probabilities(logits, torch.full((2, 2), 0.5)).softmax(1)
        tensor([[0.7000, 0.3000]])
    """
    log_weights = _spread(weights, logits).log()
    log_p = logits.log_softmax(dim=2)
    joined = (log_weights + log_p).logsumexp(dim=0)
    if known is None:
        return joined
    odds = joined - (log_weights + log_p[:, :, :1]).logsumexp(dim=0)
    return torch.cat([torch.zeros_like(odds[:, :1]), odds[:, 1:]], dim=1)


def join_logits(logits: Tensor, weights: Tensor, known: Tensor | None = None) -> Tensor:
    """The weighted mean of logits, or of their distances from the background's where label sets differ.

    Args:
        logits: (M, B, K, *S), minus infinity for the classes that a member does not know.
        weights: (M, K), or (M, B, K) for weights of each case; 0 for those; each class adds up to 1.
        known: (M, K), true where a member knows a class; None when each knows all.

    Example:
        >>> logits = torch.tensor([[[0.0, 2.0]], [[0.0, 4.0]]])
        >>> join_logits(logits, torch.full((2, 2), 0.5))
        tensor([[0., 3.]])
    """
    if known is not None:
        logits = (logits - logits[:, :, :1]).where(_spread(known, logits), 0.0)
    return (_spread(weights, logits) * logits).sum(dim=0)


def join_label_probabilities(
    logits: Tensor,
    weights: Tensor,
    known: Tensor | None = None,  # noqa: ARG001 - the signature of all joins
) -> Tensor:
    """The log-odds of the weighted mean of the probabilities of each label.

    Args:
        logits: (M, B, L, *S), minus infinity for the labels that a member does not know.
        weights: (M, L), 0 for those; each label adds up to 1.
        known: not needed.

    Example:
        >>> logits = torch.tensor([[[0.9, 0.2]], [[0.5, 0.4]]]).logit()
        >>> join_label_probabilities(logits, torch.full((2, 2), 0.5)).sigmoid()
        tensor([[0.7000, 0.3000]])
    """
    log_weights = _spread(weights, logits).log()
    holds, fails = (torch.nn.functional.logsigmoid(z) for z in (logits, -logits))
    joined: Tensor = (log_weights + holds).logsumexp(dim=0) - (log_weights + fails).logsumexp(dim=0)
    return joined


def join_label_logits(logits: Tensor, weights: Tensor, known: Tensor | None = None) -> Tensor:
    """The weighted mean of the logits of each label.

    Args:
        logits: (M, B, L, *S), minus infinity for the labels that a member does not know.
        weights: (M, L), 0 for those; each label adds up to 1.
        known: (M, L), true where a member knows a label; None when each knows all.

    Example:
        >>> join_label_logits(torch.tensor([[[0.0, 2.0]], [[1.0, 4.0]]]), torch.full((2, 2), 0.5))
        tensor([[0.5000, 3.0000]])
    """
    if known is not None:
        logits = logits.where(_spread(known, logits), 0.0)
    return (_spread(weights, logits) * logits).sum(dim=0)


def weight_table(weights: Weights | None, known: Tensor) -> Tensor:
    """Weights (M, K) in which each class adds up to 1 over the members that know it.

    Args:
        weights: None for equal ones; see `Weights`. What is said of a class that the member does not know is
            left out.
        known: (M, K), true where a member knows a class.

    Raises:
        TeacherError: another shape, a weight that is negative or not finite, or a class without any weight.

    Example:
        >>> weight_table([1, 3], torch.tensor([[True, True], [True, False]]))
        tensor([[0.2500, 1.0000],
                [0.7500, 0.0000]])
    """
    members, classes = known.shape
    try:
        table = torch.ones(members) if weights is None else torch.tensor(weights, dtype=torch.float32)
    except (TypeError, ValueError):  # rows of different lengths
        table = torch.empty(0)
    if table.shape not in ((members,), (members, classes)):
        raise TeacherError(
            f"teacher.weights: {weights} do not fit; give one number for each of the {members} members, or "
            f"for each of them a list of {classes}, one for each class"
        )
    if not bool((table.isfinite() & (table >= 0)).all()):
        raise TeacherError(f"teacher.weights: {weights} must be finite and not below 0")
    table = (table if table.ndim == 2 else table[:, None].expand(members, classes)) * known
    total = table.sum(dim=0)
    if not bool((total > 0).all()):
        lost = int((total > 0).int().argmin())
        raise TeacherError(
            f"teacher.weights: no member has a weight above 0 for class {lost}; raise that of one that knows "
            "it"
        )
    return table / total


def member_confidence(logits: Tensor, known: Tensor) -> Tensor:
    """How sure each member is of each case: 1 minus its mean entropy over that of equally likely classes.

    Args:
        logits: (M, B, K, *S), minus infinity for the classes that a member does not know.
        known: (M, K), true where a member knows a class.

    Returns:
        (M, B), 0..1.

    Example:
        >>> logits = torch.tensor([[[0.5, 0.5, 0.0]], [[0.8, 0.1, 0.1]]]).log()
        >>> member_confidence(logits, torch.tensor([[True, True, False], [True, True, True]]))
        tensor([[0.0000],
                [0.4183]])
    """
    entropy: Tensor = torch.special.entr(logits.softmax(2)).sum(2)
    most = known.sum(1).clamp(min=2).to(logits.dtype).log()
    return (1 - entropy.unsqueeze(-1).flatten(2).mean(2) / most[:, None]).clamp(0, 1)


def confidence_table(logits: Tensor, known: Tensor) -> Tensor:
    """Weights (M, B, K) in proportion to the members' confidence in each case.

    Each class adds up to 1 over the members that know it.

    Args:
        logits: (M, B, K, *S), minus infinity for the classes that a member does not know.
        known: (M, K), true where a member knows a class.

    Example:
        >>> logits = torch.tensor([[[0.5, 0.5]], [[0.9, 0.1]]]).log()  # one that does not know, one that does
        >>> confidence_table(logits, torch.ones(2, 2, dtype=torch.bool))
        tensor([[[0., 0.]],
        <BLANKLINE>
                [[1., 1.]]])
    """
    sure = member_confidence(logits, known)[:, :, None] * known[:, None]
    total = sure.sum(0)
    equal = known[:, None] / known.sum(0)
    return torch.where(total > 0, sure / total.where(total > 0, 1), equal)


def _spread(table: Tensor, logits: Tensor) -> Tensor:
    """A table (M, K) or (M, B, K) with the axes of logits (M, B, K, *S)."""
    table = table if table.ndim == 3 else table[:, None]
    return table.view(*table.shape, *(1,) * (logits.ndim - 3))


@dataclass(frozen=True)
class MemberJoin:
    """A join with its weights, for logits whose second axis are the members.

    Args:
        join: how they are joined.
        weights: (M, K), each class adds up to 1; None for the members' confidence in each case.
        known: (M, K), true where a member knows a class.

    Example:
        >>> logits = torch.tensor([[[0.9, 0.1], [0.5, 0.5]]]).log()
        >>> both = torch.ones(2, 2, dtype=torch.bool)
        >>> MemberJoin(join_probabilities, torch.full((2, 2), 0.5), both)(logits).softmax(1)
        tensor([[0.7000, 0.3000]])
    """

    join: Join
    weights: Tensor | None
    known: Tensor

    def __call__(self, answers: Tensor) -> Tensor:
        """Logits (B, K, *S) of those of the members (B, M, K, *S)."""
        logits = answers.movedim(1, 0)
        weights = confidence_table(logits, self.known) if self.weights is None else self.weights
        return self.join(logits, weights, None if bool(self.known.all()) else self.known)
