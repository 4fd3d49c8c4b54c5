"""What a recipe names, put together: data, networks and method, ready for the first step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from meddistill.config import Recipe
from meddistill.data.teacher_logits import TeacherLogits
from meddistill.errors import ConfigError
from meddistill.methods import Method, create_method
from meddistill.models import ModelSpec
from meddistill.teachers import BaseTeacher
from meddistill.training.compiling import check_compiler, compile_networks
from meddistill.training.data import TaskData, check_batches
from meddistill.training.hardware import set_layout, takes_bf16
from meddistill.training.module import DistillationModule
from meddistill.training.narrow_maps import widen_narrow_maps
from meddistill.training.recipe_teacher import teacher_for
from meddistill.training.start import Start, start_student
from meddistill.training.supervision import check_labels


@dataclass(frozen=True)
class Assembly:
    """The parts of one training; `assemble` makes it, `ready` finishes its networks.

    Args:
        recipe: what was put together.
        data: its images, found and divided.
        spec: how to rebuild the student.
        student: network with random weights from the recipe's seed, or with those that it starts from.
        method: not prepared yet.
        teacher: None when the method needs none.
        start: None where the student's weights are random, and all of them are trained.
    """

    recipe: Recipe
    data: TaskData
    spec: ModelSpec
    student: nn.Module
    method: Method
    teacher: BaseTeacher | None
    start: Start | None = None

    def ready(self, device: torch.device) -> None:
        """Bring the teacher to `device`, set the memory layout of the networks, then compile.

        Hooks on the networks must be set by now.

        Raises:
            ConfigError: the recipe asks to compile and this machine cannot.
        """
        training, teacher = self.recipe.training, self.recipe.teacher
        if self.teacher is not None:
            self.teacher.to(device)
        if device.type == "cpu" and takes_bf16(training.precision, training.accelerator):
            widen_narrow_maps(self.student)
        if training.channels_last:
            set_layout(self.spec.dims, self.student, self.teacher)
        if training.compile or (teacher.compile and self.teacher is not None):
            check_compiler(device)
        compile_networks(
            self.student if training.compile else None, self.teacher if teacher.compile else None
        )

    def module(
        self, kind: Callable[..., DistillationModule] = DistillationModule, *, live: bool = True
    ) -> DistillationModule:
        """The training and validation steps.

        Args:
            kind: makes a variant of them.
            live: whether they ask the teacher; without it the batches bring its logits.
        """
        recipe = self.recipe
        return kind(
            self.student,
            self.method,
            self.teacher if live else None,
            recipe.training,
            num_classes=self.spec.num_classes,
            task=self.data.task,
            seed=recipe.seed,
            frozen=() if self.start is None else self.start.frozen,
        )

    def training_loader(
        self, teacher: TeacherLogits | None = None, *, rank: int = 0, world_size: int = 1
    ) -> DataLoader[Any]:
        """The batches to train on, shuffled and augmented, with the stored logits of `teacher`.

        They are those of process `rank` among `world_size`.
        """
        config = self.recipe.training
        return self.data.training_loader(
            batch_size=config.batch_size,
            seed=self.recipe.seed,
            workers=config.workers,
            teacher=teacher,
            rank=rank,
            world_size=world_size,
        )


def assemble(recipe: Recipe, data: TaskData | None = None, *, resumed: bool = False) -> Assembly:
    """Find the data, build the student from the recipe's seed, give it its start and load the teacher.

    Args:
        recipe: a checked recipe.
        data: the recipe's data, where they have been found already.
        resumed: a checkpoint will bring the student's weights, so that those of its start are not read.

    Raises:
        DataError: the data cannot be used.
        TeacherError: the teacher cannot be loaded or does not fit.
        RunError: the weights that the student starts from cannot be read or do not fit.
        ConfigError: the network cannot be built or is not that of its start, the method needs a teacher (or
            fine-tuning a start) that the recipe does not name or labels that the data lack, or batches need
            weakly labelled cases and there are none.
    """
    data = data or TaskData.from_recipe(recipe)
    method = create_method(**recipe.method)
    check_labels(method, data.source)
    check_batches(recipe, data)
    spec = student_spec(recipe, data)
    torch.manual_seed(recipe.seed)
    student = spec.build()
    check_size(student, spec)
    start = start_student(recipe, spec, student, resumed=resumed)
    return Assembly(recipe, data, spec, student, method, teacher_for(recipe, method, spec), start)


def student_spec(recipe: Recipe, data: TaskData) -> ModelSpec:
    """The student that the recipe asks for, for these data."""
    return ModelSpec(
        name=recipe.model.name,
        in_channels=data.source.in_channels,
        num_classes=data.num_classes,
        dims=data.source.dims,
        options=dict(recipe.model.options),
        class_names=tuple(data.source.class_names),
        size=recipe.data.shape,
        form=create_method(**recipe.method).form,
        task=data.task,
    )


def check_size(student: nn.Module, spec: ModelSpec) -> None:
    """Refuse images of a size that a network for one size alone does not take.

    Raises:
        ConfigError: it does not.
    """
    fixed = getattr(student, "fixed_size", None)
    if fixed is not None and tuple(fixed) != tuple(spec.size):
        raise ConfigError(
            f"model.name: {spec.name} takes images of {list(fixed)} alone; set data.size to that, or give "
            "model.options.img_size"
        )
