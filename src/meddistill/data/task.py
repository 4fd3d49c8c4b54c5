"""What a label is: a map, one class per image, or several labels per image that do not exclude each other."""

from __future__ import annotations

from typing import Literal

from meddistill.data.case import Source

Task = Literal["segmentation", "classification", "multi_label"]
"""`segmentation`: a class for every pixel, labels (*S). `classification`: one class for the image, labels ().
`multi_label`: L labels that are each there (1) or not (0), labels (L,). `IGNORE_INDEX` stands for unknown."""

TASKS: tuple[Task, ...] = ("segmentation", "classification", "multi_label")


def task_of(source: Source) -> Task:
    """The task of a source: its attribute `task`; one without it holds maps.

    Example:
        >>> from meddistill.data.phantom import PhantomSource
        >>> task_of(PhantomSource(1))
        'segmentation'
    """
    task: Task = getattr(source, "task", "segmentation")
    return task


def answers_images(source: Source) -> bool:
    """Whether a label of `source` speaks of the image as a whole.

    Example:
        >>> from meddistill.data.phantom import PhantomSource
        >>> answers_images(PhantomSource(1))
        False
    """
    return task_of(source) != "segmentation"
