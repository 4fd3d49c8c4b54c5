"""Tables of answers from a seed, for the tests beside this file."""

from __future__ import annotations

import numpy as np

from meddistill.evaluation.answers import AnswerTable


def table(
    count: int = 60,
    classes: int = 3,
    *,
    several: bool = False,
    seed: int = 0,
    skill: float = 1.5,
    digits: int | None = 2,
    group_size: int = 1,
) -> AnswerTable:
    """Answers that are better than chance, with equal probabilities among them where they are rounded."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (count, classes)) if several else rng.permutation(np.arange(count) % classes)
    truth = labels if several else np.eye(classes, dtype=int)[labels]
    logits = rng.normal(size=(count, classes)) + skill * (truth - 0.5)
    probabilities = 1 / (1 + np.exp(-logits))
    if digits is not None:
        probabilities = probabilities.round(digits)
    if not several:
        probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    names = np.array([f"case {number:03}" for number in range(count)])
    groups = np.array([f"patient {number // group_size}" for number in range(count)])
    return AnswerTable(
        names,
        groups,
        groups,
        labels.astype(np.int64),
        probabilities,
        tuple(f"kind {k}" for k in range(classes)),
    )


def changed(given: AnswerTable, **changes: object) -> AnswerTable:
    """The table with some arrays replaced."""
    return AnswerTable(**{**vars(given), **changes})
