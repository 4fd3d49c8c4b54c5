"""From the noise section of a recipe to the labels that each split gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meddistill.config import NoiseConfig
from meddistill.data.case import Case, Source, Split, is_labelled
from meddistill.data.noise import ClassNoise, MaskNoise, Noise, TransitionNoise, create_noise
from meddistill.data.noise.relabelling import NoisyMaps, Relabelling, check_questions, noisy_answers
from meddistill.data.task import task_of
from meddistill.errors import ConfigError


@dataclass(frozen=True)
class NoisePlan:
    """What becomes of the labels of some splits.

    Args:
        noise: how labels become wrong.
        seed: with the id of a case decides its label.
        splits: whose labels.
    """

    noise: Noise
    seed: int
    splits: tuple[str, ...]

    def relabelling(self, split: str, source: Source, cases: Sequence[Case]) -> Relabelling | None:
        """What gives the cases of a split their noisy labels; None for one that keeps the true ones.

        Raises:
            DataError: an image that the noise looks at cannot be read.
        """
        if split not in self.splits:
            return None
        if isinstance(self.noise, ClassNoise):
            return noisy_answers(self.noise, source, cases, seed=self.seed)
        assert isinstance(self.noise, MaskNoise)
        return NoisyMaps(self.noise, self.seed)


def plan_noise(config: NoiseConfig | None, source: Source, split: Split, *, seed: int) -> NoisePlan | None:
    """The plan of the section; None without it.

    Args:
        config: the section, checked.
        source: has the labels.
        split: the cases by split.
        seed: for a section without one.

    Raises:
        ConfigError: the source has no labels or other classes than the noise expects, a split has no cases,
            or the labels to change are those that volumes are scored against.
    """
    if config is None:
        return None
    if not is_labelled(source):
        raise ConfigError("data.noise makes labels wrong, but data.source has none; leave it out")
    noise, several = create_noise(config.name, **config.options), task_of(source) == "multi_label"
    if several and isinstance(noise, ClassNoise):
        check_questions(noise)
    if isinstance(noise, TransitionNoise):
        noise.transition_matrix(2 if several else len(source.class_names))
    empty = [name for name in config.splits if not split.cases.get(name)]
    if empty:
        raise ConfigError(f"data.noise.splits: the {empty[0]} split has no cases; leave it out")
    if "test" in config.splits and (source.dims == 3 or hasattr(source, "volumes")):
        raise ConfigError(
            "data.noise.splits: volumes are scored as their files are; leave out test, or save the wrong "
            "labels as files"
        )
    return NoisePlan(noise, seed if config.seed is None else config.seed, tuple(config.splits))


def when_scored(config: NoiseConfig | None) -> NoiseConfig | None:
    """The section as scoring a run sees it: its training cases are scored against their true labels.

    Example:
        >>> when_scored(NoiseConfig(name="symmetric", rate=0.2, splits=["train", "test"])).splits
        ['test']
        >>> when_scored(NoiseConfig(name="symmetric", rate=0.2)) is None
        True
    """
    others = [] if config is None else [name for name in config.splits if name != "train"]
    return config.model_copy(update={"splits": others}) if config is not None and others else None
