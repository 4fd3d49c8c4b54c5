"""What the attacks of a recipe must agree on, beyond the type of each key."""

from __future__ import annotations

from meddistill.config.attacks import AttackOptions, set_name
from meddistill.config.data_checks import check_name
from meddistill.config.schema import Recipe
from meddistill.errors import ConfigError, unknown_name


def check_attacks(recipe: Recipe) -> None:
    """Refuse strengths that mean nothing, sets that are not there, and names that are taken.

    Raises:
        ConfigError: the first thing wrong, in one line.
    """
    taken = {name.lower(): f"the test set {name}" for name in recipe.tests}
    for name, attack in recipe.attacks.items():
        check_name("attacks", name)
        _check_strengths(name, attack)
        if attack.of != "test" and attack.of not in recipe.tests:
            known = ["test", *recipe.tests]
            raise ConfigError(f"attacks.{name}.of: {unknown_name('test set', attack.of, known)}")
        for eps in attack.strengths:
            made = set_name(name, attack, eps)
            if made.lower() in taken:
                raise ConfigError(
                    f"attacks.{name}: its set {made} would be called as {taken[made.lower()]}; give the "
                    "attack another name"
                )
            taken[made.lower()] = f"a set of the attack {name}"


def check_strength(where: str, eps: float) -> None:
    """Refuse a largest change of a pixel that means nothing.

    Args:
        where: what gave it, a key of a recipe or an option.
        eps: in grey levels of 8-bit images.

    Raises:
        ConfigError: it is not above 0 and up to 255.
    """
    if not 0 < eps <= 255:
        raise ConfigError(
            f"{where}: {eps:g} is no strength; give grey levels of 8-bit images, above 0 and up to 255, for "
            "example 2"
        )


def _check_strengths(name: str, attack: AttackOptions) -> None:
    for eps in attack.strengths:
        check_strength(f"attacks.{name}.eps", eps)
    if not attack.strengths or list(attack.strengths) != sorted(set(attack.strengths)):
        raise ConfigError(f"attacks.{name}.eps: give strengths from weak to strong, for example [1, 2, 4, 8]")
