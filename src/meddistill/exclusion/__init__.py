"""Which cases of a transferal set are left out because their masks are of no use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from meddistill.errors import ConfigError
from meddistill.exclusion.base import Answers, Rule
from meddistill.exclusion.entropy import GreyLevelEntropy, PixelEntropy, grey_level_entropy, pixel_entropy
from meddistill.exclusion.outcome import Exclusion, RuleCount, exclude
from meddistill.exclusion.pixels import TargetPixels, target_pixels
from meddistill.registry import build

RULES: dict[str, Callable[..., Rule]] = {
    "target_pixels": TargetPixels,
    "grey_level_entropy": GreyLevelEntropy,
    "pixel_entropy": PixelEntropy,
}
"""The rules that a recipe can name."""


def create_rule(name: str, **options: Any) -> Rule:
    """Build the rule that a recipe names.

    Args:
        name: one of `RULES`.
        options: the fields of its class.

    Raises:
        ConfigError: the name or an option is unknown, or a value is out of range.

    Example:
        >>> create_rule("target_pixels", alpha=100)
        TargetPixels(alpha=100)
        >>> create_rule("target_pixels", alfa=100)
        Traceback (most recent call last):
        ...
        meddistill.errors.ConfigError: unknown option of rule target_pixels 'alfa'; did you mean 'alpha'?
    """
    rule: Rule = build("rule", name, RULES, options)
    return rule


def create_rules(entries: Sequence[Rule | Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Build the rules of a recipe's list `exclude`; rules that exist already are taken as they are.

    Raises:
        ConfigError: an entry without a name, an unknown name or option, or a rule that occurs twice.

    Example:
        >>> [rule.name for rule in create_rules([{"name": "target_pixels"}, PixelEntropy(at_most=0.1)])]
        ['target_pixels', 'pixel_entropy']
    """
    if isinstance(entries, str | Mapping) or not isinstance(entries, Sequence):
        raise ConfigError(
            f"exclude must be a list of rules, for example [{{name: target_pixels}}], got {entries!r}"
        )
    rules = tuple(entry if isinstance(entry, Rule) else _from_entry(entry) for entry in entries)
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"exclude: rule {name} occurs twice; give it once")
    return rules


def _from_entry(entry: Any) -> Rule:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise ConfigError(
            f"exclude: each rule is a mapping with its name, {{name: target_pixels}}, not {entry!r}"
        )
    return create_rule(**entry)


__all__ = [
    "RULES",
    "Answers",
    "Exclusion",
    "GreyLevelEntropy",
    "PixelEntropy",
    "Rule",
    "RuleCount",
    "TargetPixels",
    "create_rule",
    "create_rules",
    "exclude",
    "grey_level_entropy",
    "pixel_entropy",
    "target_pixels",
]
