"""From the data section of a recipe to loaders: source, split, cache, data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from meddistill.config import DataConfig, Recipe
from meddistill.config.schema import (
    FolderSourceConfig,
    ImagesSourceConfig,
    ManifestSourceConfig,
    PaletteSourceConfig,
    SourceConfig,
    VolumeOptions,
)
from meddistill.data import (
    CaseCache,
    CaseDataset,
    FolderSource,
    ImageSource,
    ManifestSource,
    PaletteSource,
    SliceSource,
    check_no_leak,
    make_loader,
    make_transform,
    split_cases,
)
from meddistill.data.balance import check_balance, check_classes, noted_kinds
from meddistill.data.cache import CaseFile
from meddistill.data.case import SPLITS, Case, Source, Split, is_labelled
from meddistill.data.dataset import make_mixed_loader
from meddistill.data.mixed_sampler import check_pools
from meddistill.data.patches import PatchCache, PatchDataset
from meddistill.data.phantom import PhantomSource
from meddistill.data.supervision import Supervision
from meddistill.data.task import Task, task_of
from meddistill.data.teacher_logits import TeacherLogits
from meddistill.errors import ConfigError, DataError
from meddistill.methods import create_method
from meddistill.training.image_labels import ImageLabelConfig, build_image_labels
from meddistill.training.label_noise import NoisePlan, plan_noise
from meddistill.training.supervision import check_files, describe_supervision, supervise
from meddistill.training.volume_data import build_volumes

UNREAD = frozenset({"train", "selection", "calibration"})
"""The splits whose labels are not read by a method that needs none."""


def build_source(
    config: SourceConfig, *, size: tuple[int, ...] = (128, 128), where: str = "data.source"
) -> Source:
    """The source that a recipe names; a phantom is generated at `size`, the others keep their files' sizes.

    Args:
        config: a section of a recipe.
        size: of a phantom.
        where: the section's place in the recipe.

    Raises:
        DataError: the folder or file cannot be used.
    """
    _check_there(config, where)
    if isinstance(config, FolderSourceConfig):
        return FolderSource(
            Path(config.root),
            channels=config.channels,
            threshold=config.threshold,
            group_pattern=config.group_pattern,
        )
    if isinstance(config, ImageLabelConfig):
        return build_image_labels(config)
    if isinstance(config, ImagesSourceConfig):
        return ImageSource(
            Path(config.root),
            class_names=tuple(config.class_names),
            channels=config.channels,
            group_pattern=config.group_pattern,
        )
    if isinstance(config, ManifestSourceConfig):
        return ManifestSource(
            Path(config.file), class_names=tuple(config.class_names), channels=config.channels
        )
    if isinstance(config, PaletteSourceConfig):
        return PaletteSource(Path(config.root), Path(config.palette), channels=config.channels)
    if isinstance(config, VolumeOptions):
        return build_volumes(config, where=where)
    return PhantomSource(config.cases, size=size, seed=config.seed, normal_fraction=config.normal_fraction)


def _check_there(config: SourceConfig, where: str) -> None:
    """Say which key of the recipe names something that does not exist."""
    for key in ("root", "file", "palette"):
        place = getattr(config, key, None)
        if place is not None and not Path(place).exists():
            raise DataError(f"{where}.{key}: {place} does not exist; give yours by --{where}.{key}")


def divide(config: DataConfig, source: Source) -> Split:
    """The cases of each split, as the recipe asks.

    Split lists that are not found as given are looked for below the root of a folder source. Of slices whole
    volumes are divided: lists name volumes, and a recipe divides slices and volumes alike.

    Raises:
        DataError: a list cannot be read or names unknown cases.
    """
    wanted, subset = config.splits, config.splits.subset
    root = Path(getattr(config.source, "root", None) or ".")
    files: dict[str, Path | str] = {
        name: path if (path := Path(file)).is_file() else root / file
        for name, file in (wanted.files or {}).items()
    }
    fractions = {str(name): share for name, share in (wanted.fractions or {}).items()}
    carve = {str(name): share for name, share in (wanted.carve or {}).items()}
    split = split_cases(
        source.volumes if isinstance(source, SliceSource) else source,
        files=files or None,
        fractions=fractions or None,
        part=None if wanted.part is None else (wanted.part.index, wanted.part.of),
        carve=carve or None,
        fraction=wanted.fraction,
        subset=None if subset is None else (subset.index, subset.of, subset.fraction),
        seed=wanted.seed,
    )
    return source.split(split) if isinstance(source, SliceSource) else split


@dataclass
class TaskData:
    """Everything about the data that a training needs; each split is decoded when it is first asked for.

    With a `supervision` the training split has full labels for some cases alone; all other splits have them.
    A `noise` makes labels of the splits that it names wrong, as if the source had them so. The labels of the
    splits in `hidden` are never read. `narrow` leaves out cases of a split and gives the others new labels:
    `split` stays the whole, as do the fingerprint and what is on record.
    """

    config: DataConfig
    source: Source
    split: Split
    supervision: Supervision | None = None
    hidden: frozenset[str] = frozenset()
    noise: NoisePlan | None = None
    _sets: dict[str, CaseDataset] = field(default_factory=dict)
    _narrowed: dict[str, CaseDataset] = field(default_factory=dict)

    @classmethod
    def from_config(cls, config: DataConfig, *, seed: int = 0) -> TaskData:
        """Scan the source, divide it, and draw which cases keep their full labels.

        Args:
            config: the data section of a recipe.
            seed: the recipe's, for a supervision or a noise that has none of its own.

        Raises:
            DataError: see `build_source` and `divide`; or a group lies in two splits, or the training split
                lacks a class of whole images.
            ConfigError: more fully labelled groups than there are, sizes that do not fit, cases of one kind
                that are to be balanced, or a noise that does not fit the labels.
        """
        source = build_source(config.source, size=tuple(config.size or ()))
        if config.patch is not None and source.dims != 3:
            raise ConfigError("data.patch cuts volumes, but the images have 2 axes; give data.size instead")
        if len(config.shape) != source.dims:
            raise ConfigError(
                f"data.size has {len(config.shape)} numbers but the images have {source.dims} axes; "
                f"give {source.dims}"
            )
        split = divide(config, source)
        check_no_leak(split)
        check_classes(source, split)
        if config.balanced:
            check_balance(split.cases.get("train", ()))
        supervision = supervise(config.supervision, source, split, seed=seed)
        noise = plan_noise(config.noise, source, split, seed=seed)
        return cls(config, source, split, supervision, noise=noise)

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> TaskData:
        """As `from_config`; of a method that needs no labels only those of the test split are read.

        Raises:
            DataError, ConfigError: see `from_config`; or the recipe names both such a method and a
                supervision, label noise or crops.
        """
        if create_method(**recipe.method).needs_labels:
            return cls.from_config(recipe.data, seed=recipe.seed)
        if recipe.data.supervision is not None:
            raise ConfigError(
                f"data.supervision says who keeps full labels, but {recipe.method['name']} learns from "
                "teachers alone; leave it out"
            )
        if recipe.data.noise is not None and UNREAD.intersection(recipe.data.noise.splits):
            raise ConfigError(
                f"data.noise makes labels wrong that {recipe.method['name']}, which learns from teachers "
                "alone, does not read; leave it out"
            )
        if recipe.data.patch is not None:
            raise ConfigError(
                f"data.patch cuts crops, but {recipe.method['name']} judges whole masks; give data.size"
            )
        return replace(cls.from_config(recipe.data, seed=recipe.seed), hidden=UNREAD)

    @property
    def num_classes(self) -> int:
        """Number of label values, background included; of several labels of an image their number."""
        return len(self.source.class_names)

    @property
    def task(self) -> Task:
        """What a label is: a map, one class per image, or several labels."""
        return task_of(self.source)

    def cases(self, split: str) -> Mapping[str, Case]:
        """Cases of a split by id; those that are left of a narrowed one."""
        narrowed = self._narrowed.get(split)
        cases = narrowed.cache.cases if narrowed else self.split.cases.get(split, ())
        return {case.id: case for case in cases}

    def has_labels(self, split: str) -> bool:
        """Whether labels of a split are known and may be looked at."""
        return split not in self.hidden and is_labelled(self.source)

    def narrow(self, split: str, kept: Sequence[int], labels: CaseFile) -> None:
        """Keep some cases of a split, with other labels.

        Args:
            split: its name.
            kept: positions of the cases to keep, among all of the split; it is decoded already.
            labels: (*S) int16 of all its cases, at their positions.
        """
        whole = self._sets[split].cache
        self._narrowed[split] = CaseDataset(whole.narrowed(kept, labels))

    def whole(self) -> TaskData:
        """The same data with all cases and with the labels of their source, where these are read."""
        return replace(self, _narrowed={})

    def left_out(self) -> dict[str, list[str]]:
        """Ids of the cases that each narrowed split lacks."""
        kept = {split: self.cases(split) for split in self._narrowed}
        return {
            split: [case.id for case in self.split.cases[split] if case.id not in cases]
            for split, cases in kept.items()
        }

    def dataset(self, split: str) -> CaseDataset:
        """The decoded cases of a split, without augmentation; in `train` with the labels it may see.

        Raises:
            DataError: the split is empty or a file cannot be read.
        """
        if split in self._narrowed:
            return self._narrowed[split]
        if split not in self._sets:
            cases = self.split.cases.get(split, ())
            if not cases:
                raise DataError(
                    f"the {split} split has no cases; set data.splits (now: {self.split.note or 'nothing'})"
                )
            cache = self._decoded(split, cases)
            check_files(cache)
            self._sets[split] = CaseDataset(cache)
        return self._sets[split]

    def _decoded(self, split: str, cases: Sequence[Case]) -> CaseCache:
        supervision = self.supervision if split == "train" else None
        noise = None if self.noise is None else self.noise.relabelling(split, self.source, cases)
        if self.config.patch is not None:
            return PatchCache(
                self.source, cases, patch=self.config.patch, supervision=supervision, noise=noise
            )
        return CaseCache(
            self.source,
            cases,
            size=self.config.size,
            interpolation=self.config.interpolation,
            supervision=supervision,
            noise=noise,
            labels=split not in self.hidden,
        )

    def decode(self) -> None:
        """Decode every split now, so that a damaged file is found before anything is trained.

        Raises:
            DataError: a file cannot be read, or there is nothing to train on.
        """
        self.dataset("train")
        for split, cases in self.split.cases.items():
            if cases:
                self.dataset(split)

    def training_loader(
        self,
        *,
        batch_size: int,
        seed: int,
        workers: int,
        teacher: TeacherLogits | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> DataLoader[Any]:
        """Shuffled, augmented batches of the training split, with the stored logits of `teacher`.

        Under mixed supervision they mix fully and weakly labelled cases as the recipe says.
        """
        transform = make_transform(self.config.augment, dims=self.source.dims)
        cache = self.dataset("train").cache
        if isinstance(cache, PatchCache):
            dataset: CaseDataset = PatchDataset(
                cache, foreground=self.config.patch_foreground, transform=transform, seed=seed
            )
        else:
            dataset = CaseDataset(cache, transform=transform, seed=seed, teacher=teacher)
        kinds = noted_kinds(cache) if self.config.balanced else None
        make = partial(make_loader, shuffle=True, kinds=kinds)
        if self.config.supervision is not None:
            full, steps = self.config.supervision.full_per_batch, self.config.supervision.steps_per_epoch
            make = partial(make_mixed_loader, full_per_batch=full, steps=steps)
        return make(
            dataset, batch_size=batch_size, seed=seed, workers=workers, rank=rank, world_size=world_size
        )

    def loader(self, split: str, *, batch_size: int) -> DataLoader[Any]:
        """Batches of a split in order, without augmentation."""
        return make_loader(self.dataset(split), batch_size=batch_size, shuffle=False, seed=0)

    def describe_supervision(self) -> dict[str, Any]:
        """Which groups are fully labelled and how much of the others is, for the run folder; else nothing."""
        if self.config.supervision is None:
            return {}
        described = describe_supervision(self.dataset("train").cache, self.config.supervision.weak)
        return {"supervision": described}

    def fingerprint(self) -> str:
        """SHA-256 over the decoded content of every split that was read, and which case is in which split."""
        digest = hashlib.sha256()
        for name in SPLITS:
            digest.update(name.encode())
            for case in self.split.cases.get(name, ()):
                digest.update(case.id.encode() + b"\0")
            if name in self._sets:
                digest.update(self._sets[name].cache.fingerprint().encode())
        return digest.hexdigest()


def check_batches(recipe: Recipe, data: TaskData) -> None:
    """Refuse batches that mix in weakly labelled cases where there are none.

    Raises:
        ConfigError: they do.
    """
    if data.supervision is None or recipe.data.supervision is None:
        return
    cases, full = data.cases("train"), data.supervision.full
    check_pools(
        len(full),
        len(cases) - len(full),
        batch_size=recipe.training.batch_size,
        full_per_batch=recipe.data.supervision.full_per_batch,
    )
