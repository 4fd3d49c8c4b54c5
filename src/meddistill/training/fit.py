"""`fit`: one recipe, one run folder."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L

from meddistill.config import Recipe, TrainingConfig, recipe_to_yaml
from meddistill.errors import RunError
from meddistill.files import write_json, write_text
from meddistill.models import count_macs, count_parameters, same_architecture
from meddistill.training.assembly import Assembly, assemble
from meddistill.training.attacks import check_attacked, describe_attacks
from meddistill.training.averaging import Averaging
from meddistill.training.callbacks import EpochProgress, Recorder, restore_torch_state
from meddistill.training.claim import (
    already_done,
    check_same_split,
    check_same_test,
    check_writable,
    claimed,
    is_first_process,
)
from meddistill.training.cleaning import Cleaning, check_clean, cleaned, write_clean
from meddistill.training.compiling import compile_errors
from meddistill.training.data import TaskData
from meddistill.training.further_tests import describe_tests, find_tests, scored_cases
from meddistill.training.hardware import describe
from meddistill.training.launcher import make_trainer, quiet
from meddistill.training.member_storing import StoredMembers
from meddistill.training.module import DistillationModule
from meddistill.training.noise_record import describe_noise, write_noise
from meddistill.training.preparation import Prepared, prepare, reopen
from meddistill.training.run_folder import RunFolder
from meddistill.training.scoring import describe_reading
from meddistill.training.storing import Stored
from meddistill.training.switches import with_values
from meddistill.training.transfer import describe_transfer, write_exclusion
from meddistill.training.trial import Tuning
from meddistill.training.tuning import tune, with_stored_choice


def fit(
    recipe: Recipe,
    run: Path | str,
    *,
    resume: bool = False,
    stores: Path | str | None = None,
    auto_tune: float | None = None,
    say: Callable[[str], None] | None = None,
) -> RunFolder:
    """Train the student of `recipe` and fill the run folder.

    Everything that can be refused is refused before the folder is made. A run that was interrupted goes on
    with `resume=True` from its last whole epoch and ends with the weights that an uninterrupted run has.

    Args:
        recipe: a checked recipe, see `meddistill.config.load_recipe`.
        run: folder to create.
        resume: go on with the run that the folder holds (or start it, when it holds none).
        stores: folder in which stored logits of teachers are kept and found again by other runs;
            `teacher-stores` beside the run by default.
        auto_tune: seconds to try what may train faster on this machine, see `training.tuning`; None tries
            nothing. What was chosen is part of the run: going on with it keeps the choice.
        say: called with a line on the teacher's own scores and on cases that are left out, before training.

    Raises:
        RunError: the folder exists, cannot be written or holds another recipe; the weights to fine-tune
            cannot be read; the loss became infinite.
        DataError: the data cannot be used, or every case is excluded.
        TeacherError: the teacher cannot be loaded, does not fit or is below the floor.
        ConfigError: the network cannot be built or is not that of its start, or this machine lacks the
            hardware that is asked for.
    """
    folder = RunFolder(Path(run))
    recipe = with_stored_choice(folder, recipe)
    if already_done(folder, recipe, resume=resume):
        return folder
    check_writable(folder.root)
    goes_on = resume and folder.checkpoint.exists()
    task = assemble(recipe, resumed=goes_on)
    check_clean(recipe, task.data)
    tests = find_tests(recipe, task.spec, task.data)
    check_attacked(recipe, task.data, tests)
    tuning = None
    if auto_tune is not None and not folder.config.exists():
        tuning = tune(recipe, auto_tune, say=_tell)
        recipe = with_values(recipe, tuning.chosen)
        task = assemble(recipe, task.data)
    has_selection = bool(task.data.split.cases.get("selection"))
    recorder = Recorder(folder, task.spec, recipe.training, has_selection=has_selection)
    trainer = build_trainer(recipe.training, folder, recorder, averaging_of(task))
    task.data.decode()
    task.ready(trainer.strategy.root_device)
    resumed = restore_torch_state(folder.checkpoint) if goes_on else None
    place = Path(stores) if stores else folder.root.parent / "teacher-stores"
    cleaning = cleaned(recipe, task.data, folder, resumed=goes_on, say=say)
    with compile_errors():
        prepared = prepare(task, place, say=say) if resumed is None else reopen(task, place)
    module = task.module(live=prepared.stored is None)
    with claimed(folder) if is_first_process() else contextlib.nullcontext():
        if is_first_process() and resumed is None:
            _begin(folder, task, prepared, tuning, tests, cleaning)
        if resumed is not None:
            check_same_split(folder, task.data)
            for name, data in tests.items():
                check_same_test(folder, name, data)
            recorder.load_state_dict(resumed["callbacks"][recorder.state_key])
        if not recorder.exhausted:
            checkpoint = folder.checkpoint if resumed is not None else None
            _train(trainer, module, task, prepared.stored, checkpoint=checkpoint)
        if trainer.is_global_zero:
            ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            folder.write_state(state="finished", finished_at=ended)
    return folder


def _tell(words: str) -> None:
    print(f"auto-tune: {words}", file=sys.stderr, flush=True)


def _begin(
    folder: RunFolder,
    task: Assembly,
    prepared: Prepared,
    tuning: Tuning | None,
    tests: Mapping[str, TaskData],
    cleaning: Cleaning | None,
) -> None:
    """Write what is known before the first step: the config first, so that a killed run can be resumed.

    Only the tuning comes before, because without it the config would be another than the recipe.
    """
    if tuning is not None:
        write_json(folder.tuning, tuning.to_json())
    data, student, teacher = task.data, task.student, task.teacher
    write_text(folder.config, recipe_to_yaml(task.recipe))
    write_json(folder.environment, _environment(task.recipe, data, tests, cleaning))
    described = {
        **task.spec.to_json(),
        "interpolation": task.recipe.data.interpolation,
        "channels": task.spec.in_channels,
        "parameters": count_parameters(student),
        "macs": count_macs(student, (task.spec.in_channels, *task.spec.size)),
        **describe_reading(data),
        **({} if task.start is None else {"start": task.start.to_json()}),
    }
    if teacher is not None:
        described |= {
            "teacher": teacher.name,
            "teacher_parameters": teacher.describe()["parameters"],
            "self_distillation": all(same_architecture(student, network) for network in teacher.networks),
        }
    write_json(folder.model, described)
    write_noise(folder, data)
    write_clean(folder, cleaning)
    if prepared.calibration is not None:
        write_json(folder.calibration, prepared.calibration.to_json())
    if prepared.scores is not None:
        write_json(folder.teacher_check, prepared.scores)
    if prepared.stored is not None:
        write_json(folder.teacher_store, prepared.stored.to_json())
    if prepared.exclusion is not None:
        write_exclusion(folder, data, prepared.exclusion)
    folder.write_state(state="running", epochs_done=0)


def _environment(
    recipe: Recipe, data: TaskData, tests: Mapping[str, TaskData], cleaning: Cleaning | None
) -> dict[str, Any]:
    """What `environment.json` says of the machine and of the data."""
    attacked = describe_attacks(recipe)
    return {
        **describe(),
        "data_fingerprint": data.fingerprint(),
        "split_note": data.split.note,
        "split_counts": {name: len(cases) for name, cases in data.split.cases.items()},
        "split_cases": {name: [case.id for case in cases] for name, cases in data.split.cases.items()},
        "tests": describe_tests(tests),
        "attacks": attacked,
        "scored": list(scored_cases(data, tests, attacked)),
        **({"subset": data.split.subset} if data.split.subset else {}),
        **data.describe_supervision(),
        **describe_noise(data),
        **({} if cleaning is None else {"label_clean": cleaning.to_json()}),
        **describe_transfer(data),
    }


def averaging_of(task: Assembly) -> list[L.Callback]:
    """What averages the student's weights, where the recipe asks for it."""
    config = task.recipe.training
    return [] if config.average is None else [Averaging(config.average, config, task.training_loader)]


def build_trainer(
    config: TrainingConfig, folder: RunFolder, recorder: Recorder, before: Sequence[L.Callback] = ()
) -> L.Trainer:
    """The Lightning trainer of a run: `recorder` fills the folder, logs go to TensorBoard and a bar.

    Callbacks in `before` act before it.
    """
    from lightning.pytorch.loggers import TensorBoardLogger

    return make_trainer(
        config,
        callbacks=[*before, recorder, EpochProgress(recorder)],
        logger=TensorBoardLogger(folder.tensorboard, name="", version=""),
        root=folder.root,
    )


def _train(
    trainer: L.Trainer,
    module: DistillationModule,
    task: Assembly,
    stored: Stored | StoredMembers | None,
    *,
    checkpoint: Path | None,
) -> None:
    logits = None
    if stored is not None:
        logits = stored.logits(tuple(task.data.cases("train")), seed=task.recipe.seed)
    training = task.training_loader(logits, rank=trainer.global_rank, world_size=trainer.world_size)
    # Every process scores the whole selection split: shares of it would have to be filled up to equal sizes.
    selection = None
    if task.data.split.cases.get("selection"):
        selection = task.data.loader("selection", batch_size=task.recipe.training.batch_size)
    with quiet(), compile_errors():
        try:
            trainer.fit(
                module, training, selection, ckpt_path=checkpoint, weights_only=True if checkpoint else None
            )
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"cannot write the run: {reason}; free some space, then --resume") from error
    if trainer.interrupted:
        raise KeyboardInterrupt
