"""The sections of a recipe that say which labels a training sees."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from meddistill.config.section import NotNegative, Positive, Section

SplitName = Literal["train", "selection", "calibration", "test"]


def _train_alone() -> list[SplitName]:
    return ["train"]


class SupervisionConfig(Section):
    """Mixed supervision: few cases of the training split keep their full labels, the others get weak ones.

    `full_groups` groups (patients) keep them, drawn by `seed` (the recipe's when null); fewer groups are a
    part of more. `weak` is a kind of weak label with its options, see docs/weak-labels.md. Of the
    `training.batch_size` cases in a step `full_per_batch` are fully labelled; where that is all of them, weak
    ones are never drawn. An epoch is one pass over the weakly labelled cases (over the fully labelled ones,
    where weak ones are never drawn), or `steps_per_epoch` steps. All other splits are fully labelled.
    """

    full_groups: Positive
    full_per_batch: Positive
    weak: dict[str, Any] = Field(default_factory=lambda: {"kind": "eroded"})
    seed: NotNegative | None = None
    steps_per_epoch: Positive | None = None


class NoiseConfig(Section):
    """Labels made wrong on purpose, before teacher or student see them.

    `name` is a kind of label noise with its options beside it, see docs/label-noise.md: a kind for classes
    where labels speak of whole images, one for label maps otherwise. `seed` (the recipe's when null) and the
    id of a case decide what becomes of its label. Only `splits` are changed; selection, calibration and test
    labels stay true unless they are named.
    """

    model_config = ConfigDict(extra="allow")

    name: str
    seed: NotNegative | None = None
    splits: Annotated[list[SplitName], Field(min_length=1)] = Field(default_factory=_train_alone)

    @property
    def options(self) -> dict[str, Any]:
        """The options of the kind."""
        return dict(self.model_extra or {})


class CleanConfig(Section):
    """Training cases whose label is probably wrong are left out; for labels of one class an image.

    `confident_learning` (Northcutt et al. 2021) divides the groups (patients) of the training split into
    `folds` by the recipe's seed, trains the recipe's network without teacher or start on all but one of them
    for `epochs` (as many as the student when null), and compares its probabilities with the labels of that
    one. `filter_by` is the rule of cleanlab, which `pip install 'meddistill[clean]'` brings.
    """

    name: Literal["confident_learning"]
    folds: Annotated[int, Field(ge=2)] = 3
    epochs: Positive | None = None
    filter_by: Literal[
        "prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "predicted_neq_given"
    ] = "prune_by_noise_rate"
