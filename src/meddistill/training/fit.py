"""`fit`: one recipe, one run folder."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from meddistill.config import Recipe, TrainingConfig, recipe_to_yaml
from meddistill.config.load import read_recipe_mapping
from meddistill.errors import ConfigError, RunError, TeacherError
from meddistill.files import write_json, write_text
from meddistill.methods import Context, Method, create_method
from meddistill.models import ModelSpec, count_parameters, same_architecture
from meddistill.teachers import Teacher, fit_temperature, load_teacher
from meddistill.training.callbacks import EpochProgress, Recorder, restore_torch_state
from meddistill.training.data import TaskData
from meddistill.training.hardware import default_device, describe, lightning_precision
from meddistill.training.module import DistillationModule
from meddistill.training.run_folder import RunFolder


def fit(recipe: Recipe, run: Path | str, *, resume: bool = False) -> RunFolder:
    """Train the student of `recipe` and fill the run folder.

    Everything that can be refused is refused before the folder is made. A run that was interrupted goes on
    with `resume=True` from its last whole epoch and ends with the weights that an uninterrupted run has.

    Args:
        recipe: a checked recipe, see `meddistill.config.load_recipe`.
        run: folder to create.
        resume: go on with the run that the folder holds (or start it, when it holds none).

    Raises:
        RunError: the folder exists, cannot be written or holds another recipe; the loss became infinite.
        DataError: the data cannot be used.
        TeacherError: the teacher cannot be loaded, does not fit or is below the floor.
    """
    folder = RunFolder(Path(run))
    if _already_done(folder, recipe, resume=resume):
        return folder
    _check_writable(folder.root)
    data = TaskData.from_config(recipe.data)
    spec = ModelSpec(
        name=recipe.model.name,
        in_channels=data.source.in_channels,
        num_classes=data.num_classes,
        dims=data.source.dims,
        options=dict(recipe.model.options),
        class_names=tuple(data.source.class_names),
        size=tuple(recipe.data.size),
    )
    torch.manual_seed(recipe.seed)
    student = spec.build()
    method = create_method(**recipe.method)
    teacher = _teacher(recipe, method, spec)
    data.decode()
    if recipe.training.channels_last:
        layout = torch.channels_last if spec.dims == 2 else torch.channels_last_3d
        for network in (student, teacher):
            if network is not None:
                network.to(memory_format=layout)  # type: ignore[call-overload]
    resumed = restore_torch_state(folder.checkpoint) if resume and folder.checkpoint.exists() else None
    found: dict[str, Any] = {}
    if resumed is None:
        found = _prepare(recipe, data, method, teacher)
    if _is_first_process():
        with _whole_or_gone(folder):
            _begin(folder, recipe, data, spec, student, teacher, found)
    module = DistillationModule(
        student, method, teacher, recipe.training, num_classes=spec.num_classes, seed=recipe.seed
    )
    recorder = Recorder(folder, spec, recipe.training, has_selection=bool(data.split.cases.get("selection")))
    trainer = build_trainer(recipe.training, folder, recorder)
    _train(trainer, module, data, recipe, checkpoint=folder.checkpoint if resumed is not None else None)
    if trainer.is_global_zero:
        folder.write_state(state="finished", finished_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    return folder


def _is_first_process() -> bool:
    """Whether this process writes the folder; under DDP the launcher numbers its children."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0 and int(os.environ.get("NODE_RANK", "0")) == 0


def _already_done(folder: RunFolder, recipe: Recipe, *, resume: bool) -> bool:
    """Refuse a folder that holds something else; True when its run is finished."""
    if not _is_first_process() or not folder.root.exists():
        return False
    if not folder.root.is_dir():
        raise RunError(f"{folder.root} is a file; choose another run folder")
    if not any(folder.root.iterdir()):
        return False
    if not resume:
        raise RunError(
            f"run folder {folder.root} exists; give another with --out, or --resume to go on with it"
        )
    if not folder.config.exists():
        raise RunError(f"{folder.root} is not a run folder (no config.yaml); choose another with --out")
    _check_same_recipe(folder, recipe)
    return folder.finished


def _check_same_recipe(folder: RunFolder, recipe: Recipe) -> None:
    before = read_recipe_mapping(str(folder.config))
    now = recipe.model_dump(mode="json")
    changed = [key for key in now if before.get(key) != now[key] and key != "study"]
    if changed:
        raise RunError(
            f"{folder.root} was started with another recipe (different: {', '.join(changed)}); "
            "resume it with the same one, or give another folder with --out"
        )


def _check_writable(root: Path) -> None:
    """Refuse an output folder that cannot be made, before any work is done for it."""
    parent = root
    while not parent.exists():
        parent = parent.parent
    try:  # the one sure way to know: rights, read-only disks and network shares all have their say
        tempfile.TemporaryDirectory(prefix=".meddistill-", dir=parent).cleanup()
    except OSError as error:
        raise RunError(
            f"cannot write in {parent} ({error.strerror}); choose a run folder that you may write to with --out"
        ) from error


def _teacher(recipe: Recipe, method: Method, spec: ModelSpec) -> Teacher | None:
    if not method.needs_teacher:
        return None
    config = recipe.teacher
    if config.path is None:
        hint = f"the study trains row {config.row!r} first; or " if config.row else ""
        raise ConfigError(
            f"method {recipe.method['name']!r} needs a teacher: {hint}give --teacher.path RUN_OR_WEIGHTS"
        )
    given = (
        {"model": config.model.name, **config.model.options, "in_channels": spec.in_channels}
        | {"num_classes": spec.num_classes, "dims": spec.dims}
        if config.model
        else {}
    )
    teacher = load_teacher(config.path, mean=config.mean, std=config.std, **given)
    teacher.check_fits(num_classes=spec.num_classes, in_channels=spec.in_channels)
    return teacher


def _prepare(recipe: Recipe, data: TaskData, method: Method, teacher: Teacher | None) -> dict[str, Any]:
    """Check and calibrate the teacher, then let the method look at it. Returns what is worth writing down."""
    found: dict[str, Any] = {}
    if teacher is None:
        method.prepare(Context(num_classes=data.num_classes, epochs=recipe.training.epochs))
        return found
    teacher.to(default_device())
    batch_size = recipe.training.batch_size
    held_out = "selection" if data.split.cases.get("selection") else "train"
    check = teacher.check(
        data.loader(held_out, batch_size=batch_size), num_classes=data.num_classes, floor=recipe.teacher.floor
    )
    found["teacher"] = {"split": held_out, **check.to_json()}

    def batches(split: str) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in data.loader(split, batch_size=batch_size):
            yield teacher(batch["image"].to(default_device())).cpu(), batch["label"]

    temperature = None
    if data.split.cases.get("calibration"):
        kept = list(batches("calibration"))
        calibration = fit_temperature(lambda: kept, criterion=recipe.training.calibration)
        found["calibration"] = calibration.to_json()
        temperature = calibration.temperature
    elif method.needs_teacher_temperature:
        raise TeacherError(
            "confidence_temperature: calibrate needs a calibration split; set data.splits.carve.calibration "
            "to 0.08, or give the temperature as a number"
        )
    method.prepare(
        Context(
            num_classes=data.num_classes,
            epochs=recipe.training.epochs,
            teacher_batches=lambda: batches("train"),
            teacher_temperature=temperature,
        )
    )
    return found


@contextlib.contextmanager
def _whole_or_gone(folder: RunFolder) -> Iterator[None]:
    """Remove a new run folder that could not be begun, so that the same command works the next time."""
    new = not folder.config.exists()
    try:
        yield
    except BaseException:
        if new:
            shutil.rmtree(folder.root, ignore_errors=True)
        raise


def _begin(
    folder: RunFolder,
    recipe: Recipe,
    data: TaskData,
    spec: ModelSpec,
    student: torch.nn.Module,
    teacher: Teacher | None,
    found: dict[str, Any],
) -> None:
    """Write what is known before the first step. The config comes last: a folder with one can be resumed."""
    write_json(
        folder.environment,
        {
            **describe(),
            "data_fingerprint": data.fingerprint(),
            "split_note": data.split.note,
            "split_counts": {name: len(cases) for name, cases in data.split.cases.items()},
            "split_cases": {name: [case.id for case in cases] for name, cases in data.split.cases.items()},
        },
    )
    described = {
        **spec.to_json(),
        "interpolation": recipe.data.interpolation,
        "channels": spec.in_channels,
        "parameters": count_parameters(student),
    }
    if teacher is not None:
        described |= {
            "teacher": teacher.name,
            "teacher_parameters": count_parameters(teacher),
            "self_distillation": same_architecture(student, teacher.network),
        }
    write_json(folder.model, described)
    if "calibration" in found:
        write_json(folder.calibration, found["calibration"])
    if "teacher" in found:
        write_json(folder.teacher_check, found["teacher"])
    if not folder.state.exists():
        folder.write_state(state="running", epochs_done=0)
    write_text(folder.config, recipe_to_yaml(recipe))


def build_trainer(config: TrainingConfig, folder: RunFolder, recorder: Recorder) -> L.Trainer:
    """The Lightning trainer of a run: `recorder` fills the folder, logs go to TensorBoard and a bar."""
    from lightning.pytorch.loggers import TensorBoardLogger

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return L.Trainer(
        max_epochs=config.epochs,
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=config.strategy,
        precision=lightning_precision(config.precision, config.accelerator),
        sync_batchnorm=config.sync_batchnorm,
        gradient_clip_val=config.gradient_clip,
        logger=TensorBoardLogger(folder.tensorboard, name="", version=""),
        callbacks=[recorder, EpochProgress(recorder)],
        default_root_dir=folder.root,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _train(
    trainer: L.Trainer, module: DistillationModule, data: TaskData, recipe: Recipe, *, checkpoint: Path | None
) -> None:
    config = recipe.training
    part = {"rank": trainer.global_rank, "world_size": trainer.world_size}
    training = data.training_loader(
        batch_size=config.batch_size, seed=recipe.seed, workers=config.workers, **part
    )
    selection = (
        data.loader("selection", batch_size=config.batch_size, **part)
        if data.split.cases.get("selection")
        else None
    )
    with _quiet():
        try:
            trainer.fit(
                module, training, selection, ckpt_path=checkpoint, weights_only=True if checkpoint else None
            )
        except OSError as error:
            raise RunError(f"cannot write the run: {error}; free some space, then --resume") from error
    if trainer.interrupted:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide hints of the launcher that do not concern the user of a recipe."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
