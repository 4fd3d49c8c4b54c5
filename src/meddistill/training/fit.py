"""`fit`: one recipe, one run folder."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from meddistill.config import Recipe, TrainingConfig, recipe_to_yaml
from meddistill.errors import ConfigError, RunError
from meddistill.files import write_json, write_text
from meddistill.methods import create_method
from meddistill.models import ModelSpec, count_parameters, same_architecture
from meddistill.training.callbacks import EpochProgress, Recorder, restore_torch_state
from meddistill.training.claim import (
    already_done,
    check_same_split,
    check_writable,
    claimed,
    is_first_process,
)
from meddistill.training.data import TaskData
from meddistill.training.hardware import describe, lightning_precision
from meddistill.training.module import DistillationModule
from meddistill.training.preparation import Prepared, prepare, teacher_for
from meddistill.training.run_folder import RunFolder


def fit(
    recipe: Recipe, run: Path | str, *, resume: bool = False, say: Callable[[str], None] | None = None
) -> RunFolder:
    """Train the student of `recipe` and fill the run folder.

    Everything that can be refused is refused before the folder is made. A run that was interrupted goes on
    with `resume=True` from its last whole epoch and ends with the weights that an uninterrupted run has.

    Args:
        recipe: a checked recipe, see `meddistill.config.load_recipe`.
        run: folder to create.
        resume: go on with the run that the folder holds (or start it, when it holds none).
        say: called with one line on the teacher's own scores, before the training.

    Raises:
        RunError: the folder exists, cannot be written or holds another recipe; the loss became infinite.
        DataError: the data cannot be used.
        TeacherError: the teacher cannot be loaded, does not fit or is below the floor.
        ConfigError: the network cannot be built, or this machine lacks the hardware that is asked for.
    """
    folder = RunFolder(Path(run))
    if already_done(folder, recipe, resume=resume):
        return folder
    check_writable(folder.root)
    data = TaskData.from_config(recipe.data)
    spec = _student_spec(recipe, data)
    torch.manual_seed(recipe.seed)
    student = spec.build()
    method = create_method(**recipe.method)
    teacher = teacher_for(recipe, method, spec)
    recorder = Recorder(folder, spec, recipe.training, has_selection=bool(data.split.cases.get("selection")))
    trainer = build_trainer(recipe.training, folder, recorder)
    data.decode()
    if recipe.training.channels_last:
        _set_layout(spec.dims, student, teacher)
    resumed = restore_torch_state(folder.checkpoint) if resume and folder.checkpoint.exists() else None
    module = DistillationModule(
        student, method, teacher, recipe.training, num_classes=spec.num_classes, seed=recipe.seed
    )
    prepared = None
    if resumed is None:
        prepared = prepare(recipe, data, method, teacher, trainer.strategy.root_device)
        _tell(say, prepared.summary)
    with claimed(folder) if is_first_process() else contextlib.nullcontext():
        if is_first_process() and prepared is not None:
            _begin(folder, recipe, data, spec, module, prepared)
        if resumed is not None:
            check_same_split(folder, data)
            recorder.load_state_dict(resumed["callbacks"][recorder.state_key])
        if not recorder.exhausted:
            checkpoint = folder.checkpoint if resumed is not None else None
            _train(trainer, module, data, recipe, checkpoint=checkpoint)
        if trainer.is_global_zero:
            ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            folder.write_state(state="finished", finished_at=ended)
    return folder


def _student_spec(recipe: Recipe, data: TaskData) -> ModelSpec:
    return ModelSpec(
        name=recipe.model.name,
        in_channels=data.source.in_channels,
        num_classes=data.num_classes,
        dims=data.source.dims,
        options=dict(recipe.model.options),
        class_names=tuple(data.source.class_names),
        size=tuple(recipe.data.size),
    )


def _tell(say: Callable[[str], None] | None, summary: str) -> None:
    if say is not None and summary and is_first_process():
        say(summary)


def _set_layout(dims: int, *networks: torch.nn.Module | None) -> None:
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
    for network in networks:
        if network is not None:
            network.to(memory_format=layout)  # type: ignore[call-overload]


def _begin(
    folder: RunFolder,
    recipe: Recipe,
    data: TaskData,
    spec: ModelSpec,
    module: DistillationModule,
    prepared: Prepared,
) -> None:
    """Write what is known before the first step: the config first, so that a killed run can be resumed."""
    write_text(folder.config, recipe_to_yaml(recipe))
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
        "parameters": count_parameters(module.student),
    }
    if module.teacher is not None:
        described |= {
            "teacher": module.teacher.name,
            "teacher_parameters": module.teacher.describe()["parameters"],
            "self_distillation": all(
                same_architecture(module.student, network) for network in module.teacher.networks
            ),
        }
    write_json(folder.model, described)
    if prepared.calibration is not None:
        write_json(folder.calibration, prepared.calibration.to_json())
    if prepared.teacher is not None:
        write_json(folder.teacher_check, prepared.teacher)
    folder.write_state(state="running", epochs_done=0)


def build_trainer(config: TrainingConfig, folder: RunFolder, recorder: Recorder) -> L.Trainer:
    """The Lightning trainer of a run: `recorder` fills the folder, logs go to TensorBoard and a bar."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return _launcher(config, folder, recorder)
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        asked = f"{config.devices} x {config.accelerator!r}, strategy {config.strategy!r}"
        raise ConfigError(
            f"training.accelerator: {asked} cannot be used on this machine: {str(error).splitlines()[0]}"
        ) from error


def _launcher(config: TrainingConfig, folder: RunFolder, recorder: Recorder) -> L.Trainer:
    from lightning.pytorch.loggers import TensorBoardLogger

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
    training = data.training_loader(
        batch_size=config.batch_size,
        seed=recipe.seed,
        workers=config.workers,
        rank=trainer.global_rank,
        world_size=trainer.world_size,
    )
    # Every process scores the whole selection split: shares of it would have to be filled up to equal sizes.
    has_selection = bool(data.split.cases.get("selection"))
    selection = data.loader("selection", batch_size=config.batch_size) if has_selection else None
    with _quiet():
        try:
            trainer.fit(
                module, training, selection, ckpt_path=checkpoint, weights_only=True if checkpoint else None
            )
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"cannot write the run: {reason}; free some space, then --resume") from error
    if trainer.interrupted:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide hints of the launcher that do not concern the user of a recipe.

    A full disk reaches us as an OSError; TensorBoard's thread, which meets it first, would print it as well.
    """
    hook = threading.excepthook

    def report(failure: threading.ExceptHookArgs) -> None:
        if not issubclass(failure.exc_type, OSError):
            hook(failure)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", category=FutureWarning)
        threading.excepthook = report
        try:
            yield
        finally:
            threading.excepthook = hook
