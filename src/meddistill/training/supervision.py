"""From the supervision section of a recipe to what is known of each case, and to words for the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meddistill.config import SupervisionConfig
from meddistill.data.cache import CaseCache
from meddistill.data.case import Source, Split, is_labelled
from meddistill.data.grouping import group_of
from meddistill.data.supervision import Supervision, draw_full_groups
from meddistill.data.weak import WeakFile, WeakSource, create_weak_label
from meddistill.data.weak.share import count_pixels
from meddistill.errors import ConfigError, DataError
from meddistill.methods import Method


def supervise(
    config: SupervisionConfig | None, source: Source, split: Split, *, seed: int
) -> Supervision | None:
    """Which training cases keep their full labels, and what the others get; None without the section.

    Args:
        config: the section.
        source: has the cases.
        split: its training split is supervised.
        seed: for a section without one.

    Raises:
        ConfigError: more groups than there are, weak labels from files of a source that has none, or a
            source without labels.
    """
    if config is None:
        return None
    if not is_labelled(source):
        raise ConfigError(
            "data.supervision says who keeps full labels, but data.source has no labels; leave it out"
        )
    seed = seed if config.seed is None else config.seed
    cases = split.cases.get("train", ())
    weak = create_weak_label(**config.weak)
    if isinstance(weak, WeakFile) and not isinstance(source, WeakSource):
        raise ConfigError(
            "data.supervision.weak: kind file needs a source with files of weak labels, for example a "
            "manifest with a column weak; choose another kind"
        )
    groups = set(draw_full_groups(cases, config.full_groups, seed=seed))
    return Supervision(frozenset(case.id for case in cases if group_of(case) in groups), weak, seed)


def check_labels(method: Method, source: Source) -> None:
    """Refuse a method that learns from labels where there are none.

    Raises:
        ConfigError: it does.
    """
    if is_labelled(source) or not getattr(method, "needs_labels", True):
        return
    raise ConfigError(
        "data.source has images without labels (kind images), but this method learns from labels; give a "
        "source with labels, or a method that learns from teachers alone (pseudo_label_transfer)"
    )


def check_files(cache: CaseCache) -> None:
    """Refuse weak labels of files of which no weak case has any.

    Raises:
        DataError: none has; most likely the files are not named.
    """
    if cache.supervision is None or cache.full is None or not isinstance(cache.supervision.weak, WeakFile):
        return
    weak_cases = (~cache.full).nonzero().flatten().tolist()
    if weak_cases and not any(count_pixels(cache, index).labelled for index in weak_cases):
        raise DataError(
            "data.supervision.weak: no weakly labelled training case has a labelled pixel; name the files of "
            "weak labels, or set kind to none"
        )


def describe_supervision(cache: CaseCache, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the run folder says of the supervision: which groups are full, and how much is labelled.

    Args:
        cache: the training split, decoded with a supervision.
        options: the kind of weak label with its options.
    """
    assert cache.supervision is not None
    full = cache.supervision.full
    weak_cases = [index for index, case in enumerate(cache.cases) if case.id not in full]
    counts = [count_pixels(cache, index) for index in weak_cases]
    pixels = sum(count.total for count in counts)
    return {
        "full_groups": sorted({group_of(case) for case in cache.cases if case.id in full}),
        "full_cases": len(full),
        "weak_cases": len(weak_cases),
        "weak": dict(options),
        "seed": cache.supervision.seed,
        "weak_cases_without_label": sum(not count.labelled for count in counts),
        "labelled_share_of_weak_cases": sum(count.labelled for count in counts) / pixels if pixels else None,
    }
