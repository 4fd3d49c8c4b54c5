"""The shape of a recipe. Every field is plain YAML: text, numbers, lists, mappings; no code, no imports."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from meddistill.config.attacks import AttackConfig
from meddistill.config.labels import CleanConfig, NoiseConfig, SupervisionConfig
from meddistill.config.section import NotNegative, Positive, Section
from meddistill.config.splitting import SplitConfig


class FolderSourceConfig(Section):
    """A class-folder tree with `<name>_mask.png` files (the BUSI layout)."""

    kind: Literal["folder"]
    root: str
    channels: Literal[1, 3] = 1
    threshold: Annotated[int, Field(ge=0, le=255)] = 127
    group_pattern: str | None = None


class ImagesSourceConfig(Section):
    """Images without labels, searched recursively: a transferal set, which teachers annotate.

    Files named as masks (`<name>_mask.png`) are left out unopened. `class_names` are those that the teachers
    tell apart, the background first.
    """

    kind: Literal["images"]
    root: str
    class_names: Annotated[list[str], Field(min_length=2)] = Field(
        default_factory=lambda: ["background", "foreground"]
    )
    channels: Literal[1, 3] = 1
    group_pattern: str | None = None


class ManifestSourceConfig(Section):
    """A CSV with the columns image, label, group, split and weak."""

    kind: Literal["manifest"]
    file: str
    class_names: list[str]
    channels: Literal[1, 3] = 1


class PaletteSourceConfig(Section):
    """Colour-coded masks with a JSON palette (the EndoVis18 layout), sequences as groups."""

    kind: Literal["palette"]
    root: str
    palette: str
    channels: Literal[1, 3] = 3


class PhantomSourceConfig(Section):
    """Generated ultrasound-like images; needs no files."""

    kind: Literal["phantom"]
    cases: Positive = 120
    seed: NotNegative = 0
    normal_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.15


class ClassFolderSourceConfig(Section):
    """A folder for each class, with the images of the class in it: one class an image.

    Folders `train`, `val` and `test` above those of the classes are the splits. `class_names` puts the
    classes in an order; by default their names are sorted. The folders named in `leave_out` are not used.
    """

    kind: Literal["class_folder"]
    root: str
    channels: Literal[1, 3] = 1
    class_names: list[str] | None = None
    group_pattern: str | None = None
    leave_out: list[str] = Field(default_factory=list)


class TableSourceConfig(Section):
    """A CSV with an image and its class, or its labels, in each line.

    `label` is the column of the class, or with `separator` that of a list of labels (`Mass|Effusion`, and
    `no_finding` where there is none). `labels` are columns of 0 and 1, one for each label; with `exclusive`
    just one of them is 1, and they are classes. `root` is the folder that image names start from (that of the
    CSV by default), `ending` is added to names without one; `image`, `group` and `split` are columns.
    """

    kind: Literal["table"]
    file: str
    root: str | None = None
    image: str = "image"
    label: str | None = None
    labels: list[str] | None = None
    separator: str | None = None
    no_finding: str = "No Finding"
    exclusive: bool = False
    group: str | None = None
    split: str | None = None
    class_names: list[str] | None = None
    channels: Literal[1, 3] = 1
    ending: str = ""
    group_pattern: str | None = None
    unlabelled: Literal["refuse", "allow"] = "refuse"


class MedMnistSourceConfig(Section):
    """An npz file of MedMNIST with its own splits: one class an image, or several labels."""

    kind: Literal["medmnist"]
    file: str
    channels: Literal[1, 3] = 1
    class_names: list[str] | None = None


class VolumeOptions(Section):
    """What all sources of volumes share, see docs/volumes.md.

    `slices` trains on the slices across `axis` of the array (`data.size` has two numbers), otherwise on
    volumes (three). Axis 0 is the last of a NIfTI file and the slices of a DICOM series; 2 is the first of
    a NIfTI file. `classes` gives for each class, background first, its label value or values; `ignore_value`
    means "not labelled". `group_pattern` is searched in the case id, for example `"^(patient[0-9]+)"`.
    """

    root: str
    slices: bool = False
    axis: Literal[0, 1, 2] = 0
    ignore_value: int | None = None
    normalise: Literal["minmax", "percentiles", "window"] = "percentiles"
    window: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    group_pattern: str | None = None
    unlabelled: Literal["refuse", "allow"] = "refuse"


class VolumesSourceConfig(VolumeOptions):
    """NIfTI files with equal names in `images/`, `labels/` and perhaps `scribbles/` (weak labels)."""

    kind: Literal["volumes"]
    classes: dict[str, int | list[int]]


class DicomSourceConfig(VolumeOptions):
    """Folders of one DICOM series each, with a label `<folder>.nii.gz` beside the folder."""

    kind: Literal["dicom"]
    classes: dict[str, int | list[int]]


class NnUNetSourceConfig(VolumeOptions):
    """A raw folder of nnU-Net; classes are those of its `dataset.json` unless given."""

    kind: Literal["nnunet"]
    classes: dict[str, int | list[int]] | None = None


class DecathlonSourceConfig(VolumeOptions):
    """A folder of the Medical Segmentation Decathlon; classes as its `dataset.json` has them unless given."""

    kind: Literal["decathlon"]
    classes: dict[str, int | list[int]] | None = None


SourceConfig = Annotated[
    FolderSourceConfig
    | ClassFolderSourceConfig
    | TableSourceConfig
    | MedMnistSourceConfig
    | ImagesSourceConfig
    | ManifestSourceConfig
    | PaletteSourceConfig
    | PhantomSourceConfig
    | VolumesSourceConfig
    | DicomSourceConfig
    | NnUNetSourceConfig
    | DecathlonSourceConfig,
    Field(discriminator="kind"),
]


class DataConfig(Section):
    """Where the images come from and how they reach the network.

    Images are resized to `size`; or volumes keep their own size and the network is trained on random crops of
    the size `patch` (depth, height, width), of which a share of `patch_foreground` is centred on labelled
    foreground. One of the two is needed; only a phantom has both, and is generated at `size`.

    Without `supervision` every case of the training split is fully labelled. With `balanced` each class (or
    stratum) comes equally often in training: cases of rare ones are drawn again and again. `noise` makes
    labels wrong on purpose, `clean` leaves out training cases whose label seems wrong.
    """

    source: SourceConfig
    splits: SplitConfig = Field(default_factory=SplitConfig)
    size: Annotated[list[Positive], Field(min_length=2, max_length=3)] | None = None
    patch: Annotated[list[Positive], Field(min_length=3, max_length=3)] | None = None
    patch_foreground: Annotated[float, Field(ge=0.0, le=1.0)] = 1 / 3
    interpolation: Literal["nearest", "bilinear", "area"] = "area"
    augment: Literal["none", "flip", "light", "medium"] = "none"
    balanced: bool = False
    supervision: SupervisionConfig | None = None
    noise: NoiseConfig | None = None
    clean: CleanConfig | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial size of what the network sees in training."""
        return tuple(self.patch or self.size or ())


class FurtherTestConfig(Section):
    """A further test set, scored after training by its name, at the size of the run's own data.

    `source` and `splits` have the keys of `data.source` and `data.splits`. With `splits` its `test` split is
    scored, without them all its cases. It must have labels, and the classes and channels of `data`.
    """

    source: SourceConfig
    splits: SplitConfig | None = None


class ModelConfig(Section):
    """A network of `create_model`."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class FineTuneConfig(Section):
    """The weights that the student starts from, and which of its layers are trained.

    The start is the chosen student of a finished run, or a weights file (`path`), or in a study the run of
    another row with the same seed (`row`). Network, options, channels, classes and form are those of the
    recipe. `layers` trains all of the student, only its `decoder` (the encoder is frozen) or only its `head`,
    the last layer; what is frozen keeps its weights and its batch statistics.
    """

    path: str | None = None
    row: str | None = None
    layers: Literal["all", "decoder", "head"] = "all"


class TeacherSourceConfig(Section):
    """One teacher: what `load_teacher` reads (`path`), or in a study the row that trains it (`row`).

    `model` names its network when the file does not. `standardise`, `mean` and `std` normalise its images,
    and `size` is its resolution when it is not the student's. `class_map` has one entry for each class of the
    data: the network's class, a list of those to merge, or null for one that the teacher does not know.
    """

    path: str | None = None
    row: str | None = None
    model: ModelConfig | None = None
    standardise: Literal["minmax", "image", "channel", "image-nonzero", "channel-nonzero"] | None = None
    mean: list[float] | None = None
    std: list[Annotated[float, Field(gt=0.0)]] | None = None
    size: list[Positive] | None = None
    class_map: list[NotNegative | list[NotNegative] | None] | None = None


class TeacherConfig(TeacherSourceConfig):
    """The teacher: one, with the keys of a member, or an ensemble of `members`.

    Members are joined by `combine`, with `weights` that are equal, found anew for each case by how sure each
    member is of it (`confidence`), fitted to their scores on the selection split (for each member, or for
    each member and class), or given: one number for each member, or for each member one for each class. With
    `best` the member with the highest score there is the teacher. A method that learns from each member
    (`stochastic`) has weights of its own. A teacher below the `floor` (Dice, accuracy, or mean AUROC of
    several labels) is refused.

    `mode` says where the logits come from during training: `joint` computes them once per case and sends the
    stored maps through the same geometric change as the image; `replay` computes `views` augmented views of
    each case once and shows them in turn; `live` runs the teacher in every step. `store` is the folder of the
    stored logits (by default below `teacher-stores` beside the run), `encoding` their precision, `top_k` how
    many classes of each pixel are kept (all of up to 16, else 8).

    `precision` auto is bf16 where the hardware is fast at it and the teacher is asked live, and 32 where its
    logits are stored, so that a store does not depend on the machine; `compile` hands the networks to
    torch.compile.
    """

    members: list[TeacherSourceConfig] | None = Field(default=None, min_length=1)
    combine: Literal["probabilities", "logits"] = "probabilities"
    weights: (
        Literal["uniform", "confidence", "best", "validation", "validation_per_class"]
        | list[float]
        | list[list[float]]
    ) = "uniform"
    floor: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    mode: Literal["joint", "replay", "live"] = "joint"
    store: str | None = None
    encoding: Literal["float16", "uint8"] = "float16"
    top_k: Positive | None = None
    views: Positive = 8
    precision: Literal["auto", "32", "bf16"] = "auto"
    compile: bool = False


class AverageConfig(Section):
    """Which average of the student's weights is scored and kept, from the share `start` of the epochs on.

    `swa` is the mean of the weights after each epoch, with the statistics of batch normalisation recomputed
    over the training set; `ema` a moving average over the steps with the decay `decay`. Before `start` it is
    the student itself.
    """

    kind: Literal["swa", "ema"]
    start: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.15
    decay: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.999


class TrainingConfig(Section):
    """Optimiser, schedule, hardware and stopping.

    `precision` auto is bf16 where the hardware is fast at it; `compile` hands the student to torch.compile,
    which takes minutes before the first step and may speed up those after it; `workers` load batches ahead.
    """

    epochs: Positive
    batch_size: Positive
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0.0)] = 0.003
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    scheduler: Literal["constant", "cosine", "step"] = "constant"
    step_epochs: Positive = 7
    step_factor: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    gradient_clip: Annotated[float, Field(gt=0.0)] | None = None
    patience: Positive | None = None
    precision: Literal["auto", "32", "bf16"] = "auto"
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: Positive = 1
    nodes: Positive = 1
    strategy: Literal["auto", "ddp"] = "auto"
    sync_batchnorm: bool = False
    channels_last: bool = False
    compile: bool = False
    workers: NotNegative = 0
    calibration: Literal["nll", "ece"] = "nll"
    keep: Literal["best", "last"] = "best"
    average: AverageConfig | None = None


class StudyConfig(Section):
    """Several rows, each a set of overrides of the recipe, each run with every seed.

    `--study.rows.NAME null` on the command line leaves the row NAME out.

    With a `margin` the study says of each row whether it is not worse than the `baseline` by more than that
    in the first metric of its table: 0.01 is one Dice point.
    """

    rows: dict[str, dict[str, Any]]
    seeds: Annotated[list[NotNegative], Field(min_length=1)] = Field(default_factory=lambda: [0])
    baseline: str
    margin: Annotated[float, Field(gt=0.0)] | None = None


class Recipe(Section):
    """One training, and optionally the study it belongs to.

    `tests` names further test sets, for example images of another hospital; they are scored after training,
    beside the test split of `data` or instead of it. `attacks` names attacks on the student through the
    images of these sets; what they make is scored as further test sets are.
    """

    name: str
    seed: NotNegative = 0
    data: DataConfig
    model: ModelConfig
    fine_tune: FineTuneConfig | None = None
    method: dict[str, Any]
    teacher: TeacherConfig = Field(default_factory=TeacherConfig)
    training: TrainingConfig
    tests: dict[str, FurtherTestConfig] = Field(default_factory=dict)
    attacks: dict[str, AttackConfig] = Field(default_factory=dict)
    study: StudyConfig | None = None
