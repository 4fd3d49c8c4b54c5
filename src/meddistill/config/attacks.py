"""Attacks of a recipe, and the sets of attacked images that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from meddistill.config.section import NotNegative, Positive, Section


class AttackOptions(Section):
    """What all attacks share: how far they go, and which images they change."""

    eps: float | list[float]
    of: str = "test"

    @property
    def strengths(self) -> tuple[float, ...]:
        """The values of `eps`, in grey levels."""
        return tuple(self.eps) if isinstance(self.eps, list) else (self.eps,)


class FgsmConfig(AttackOptions):
    """One step along the sign of the gradient of the student's loss, see docs/attacks.md.

    `eps` is the largest change of a pixel in grey levels of 8-bit images, above 0 and up to 255: 2 is 2/255
    of the range of an image. One number makes one set, called as the attack is; a list, from weak to strong,
    makes a set for each, called NAME-EPS. `of` is the set whose images are attacked: `test`, or a name among
    `tests`.
    """

    kind: Literal["fgsm"]


class PgdConfig(AttackOptions):
    """Several steps along the sign of the gradient, each cut back to within `eps` of the image.

    `eps` and `of` are those of `fgsm`. `step_size` is in grey levels too, 2.5 eps / steps when null. With
    `random_start` the first step begins at a random place within `eps`, drawn from `seed` and the id of the
    case.
    """

    kind: Literal["pgd"]
    steps: Positive = 10
    step_size: Annotated[float, Field(gt=0.0)] | None = None
    random_start: bool = True
    seed: NotNegative = 0


AttackConfig = Annotated[FgsmConfig | PgdConfig, Field(discriminator="kind")]


@dataclass(frozen=True)
class AttackedSet:
    """The images of a test set under one attack of one strength.

    Args:
        attack: its name in the recipe.
        config: its options.
        eps: largest change of a pixel in grey levels.
    """

    attack: str
    config: FgsmConfig | PgdConfig
    eps: float


def attacked_sets(attacks: Mapping[str, FgsmConfig | PgdConfig]) -> dict[str, AttackedSet]:
    """The sets that attacks make, by name, in the order in which they are scored.

    Example:
        >>> attacks = {"weak": FgsmConfig(kind="fgsm", eps=1), "pgd": PgdConfig(kind="pgd", eps=[2, 0.5])}
        >>> list(attacked_sets(attacks))
        ['weak', 'pgd-2', 'pgd-0.5']
    """
    return {
        set_name(name, attack, eps): AttackedSet(name, attack, eps)
        for name, attack in attacks.items()
        for eps in attack.strengths
    }


def set_name(name: str, attack: AttackOptions, eps: float) -> str:
    """What the set of one strength of an attack is called: NAME-EPS where `eps` is a list, else NAME."""
    return f"{name}-{eps:g}" if isinstance(attack.eps, list) else name
