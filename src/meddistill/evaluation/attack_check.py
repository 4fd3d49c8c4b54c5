"""Whether an attack does what an attack must: raise the loss, and the more the further it may go.

After Carlini et al., "On evaluating adversarial robustness" (2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from meddistill.errors import ConfigError
from meddistill.evaluation.attacks import EPSILONS, label_loss, pgd
from meddistill.evaluation.inference import Network, device_of, predicting
from meddistill.losses import IGNORE_INDEX


class Attack(Protocol):
    """What `fgsm` and `pgd` are."""

    def __call__(self, network: Network, image: Tensor, label: Tensor, *, eps: float) -> Tensor:
        """The attacked images."""
        ...


@dataclass(frozen=True)
class AttackFindings:
    """Loss and accuracy without an attack and under attacks of growing strength.

    Args:
        eps: the strengths, 0 first.
        accuracy: share of the labelled pixels (labels) that are right, for each.
        loss: mean loss over them, for each.
        problems: what an attack that works does not do, one line each; empty when all is well.
    """

    eps: tuple[float, ...]
    accuracy: tuple[float, ...]
    loss: tuple[float, ...]
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: list(value) for name, value in vars(self).items()}

    def __str__(self) -> str:
        """One line for each strength, then the problems.

        Example:
            >>> print(AttackFindings((0.0, 1 / 255), (0.9, 0.5), (0.2, 0.8), ()))
            eps 0/255: accuracy 0.9000, loss 0.2000
            eps 1/255: accuracy 0.5000, loss 0.8000
        """
        rows = zip(self.eps, self.accuracy, self.loss, strict=True)
        lines = [f"eps {eps * 255:.4g}/255: accuracy {a:.4f}, loss {b:.4f}" for eps, a, b in rows]
        return "\n".join([*lines, *self.problems])


def check_attack(
    network: Network,
    batches: Iterable[Mapping[str, Any]],
    *,
    attack: Attack = pgd,
    eps: Sequence[float] = EPSILONS,
    tolerance: float = 0.01,
) -> AttackFindings:
    """Attack a network with growing strength and look for signs that the attack does not work.

    Accuracy must not rise with eps by more than `tolerance`, and every attack must raise the loss. Where it
    does not, the gradients are masked or vanish, or images are normalised outside the network.

    Args:
        network: takes images in 0..1 and answers logits.
        batches: with `image` (B, C, *S) and `label`, see `attacks.label_loss`; gone through once.
        attack: `pgd`, `fgsm` or another of their kind; others of their options by `functools.partial`.
        eps: strengths above 0, ascending.
        tolerance: of the accuracy.

    Raises:
        ConfigError: `eps` is not ascending from above 0, or nothing is labelled.
        DataError: an image is not in 0..1.

    Example:
        >>> import torch
        >>> network = torch.nn.Linear(1, 2)
        >>> with torch.no_grad():
        ...     _ = network.weight.copy_(torch.tensor([[-100.0], [100.0]]))
        ...     _ = network.bias.copy_(torch.tensor([50.0, -50.0]))
        >>> batch = {"image": torch.tensor([[0.498], [0.51], [0.9]]), "label": torch.tensor([0, 1, 1])}
        >>> found = check_attack(network, [batch])
        >>> found.problems, [round(value, 2) for value in found.accuracy]
        ((), [1.0, 0.67, 0.67, 0.33, 0.33])
    """
    strengths = (0.0, *eps)
    if list(strengths) != sorted(set(strengths)):
        raise ConfigError(f"eps must ascend from above 0, got {tuple(eps)!r}")
    right, lost, count = [0.0] * len(strengths), [0.0] * len(strengths), 0
    for batch in batches:
        device = device_of(network)
        image, label = batch["image"].to(device), batch["label"].to(device)
        count += int((label != IGNORE_INDEX).sum())
        for number, strength in enumerate(strengths):
            shown = attack(network, image, label, eps=strength) if strength else image
            correct, loss = _scored(network, shown, label)
            right[number] += correct
            lost[number] += loss
    if not count:
        raise ConfigError("nothing is labelled in these batches; an attack needs labels")
    accuracy, losses = (tuple(total / count for total in totals) for totals in (right, lost))
    return findings(strengths, accuracy, losses, tolerance=tolerance)


def _scored(network: Network, image: Tensor, label: Tensor) -> tuple[float, float]:
    """How many labelled pixels (labels) are right, and the sum of their losses."""
    with predicting(network):
        logits = network(image)
        answer = (logits > 0).long() if logits.shape == label.shape else logits.argmax(1)
        return float((answer == label).sum()), float(label_loss(logits, label).double().sum())


def findings(
    eps: Sequence[float], accuracy: Sequence[float], loss: Sequence[float], *, tolerance: float = 0.01
) -> AttackFindings:
    """What was measured without an attack and under stronger and stronger ones, and what is wrong with it.

    Args:
        eps: strengths, 0 first.
        accuracy: for each of them.
        loss: for each of them.
        tolerance: how far accuracy may rise.

    Example:
        >>> findings((0.0, 1 / 255), (0.9, 0.5), (0.2, 0.8)).problems
        ()
        >>> findings((0.0, 1 / 255), (0.9, 0.5), (0.2, 0.1)).problems[0].partition(", ")[0]
        'eps 1/255: the loss is 0.1'
    """
    return AttackFindings(tuple(eps), tuple(accuracy), tuple(loss), _problems(eps, accuracy, loss, tolerance))


def _problems(
    eps: Sequence[float], accuracy: Sequence[float], loss: Sequence[float], tolerance: float
) -> tuple[str, ...]:
    """What is not as it must be."""
    found = []
    for number in range(1, len(eps)):
        name = f"eps {eps[number] * 255:.4g}/255"
        if accuracy[number] > accuracy[number - 1] + tolerance:
            found.append(
                f"{name}: accuracy rises from {accuracy[number - 1]:.4f} to {accuracy[number]:.4f}, although "
                "the attack may go further; take more steps, or look for masked gradients"
            )
        if not loss[number] > loss[0]:
            found.append(
                f"{name}: the loss is {loss[number]:.4g}, not above the {loss[0]:.4g} without an attack; the "
                "gradients may be masked or vanish"
            )
    return tuple(found)
