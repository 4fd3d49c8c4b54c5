"""Scores of a student on images that something was done to."""

from __future__ import annotations

from typing import Any

import torch

from meddistill.data.task import answers_images
from meddistill.evaluation import AnswerTable, ScoreTable, summarise, summarise_answers
from meddistill.evaluation.disturbance import Disturbance
from meddistill.evaluation.inference import Network
from meddistill.training.answering import answers_of
from meddistill.training.data import TaskData
from meddistill.training.scoring import score_split


def score_disturbed(
    student: Network,
    data: TaskData,
    part: str,
    disturbance: Disturbance | None,
    *,
    batch_size: int,
    device: torch.device | str,
    seed: int,
) -> tuple[ScoreTable | AnswerTable, dict[str, Any]]:
    """Scores of each image of a split, and their summary; None leaves the images as they are.

    Args:
        student: on `device`; maps of images, or answers about whole ones.
        data: has the images.
        part: name of their split in it.
        disturbance: what happens to them.
        batch_size: images at a time.
        device: where to send them.
        seed: of the intervals.

    Raises:
        DataError: an image cannot be read, is not in 0..1, or cannot be scored.
    """
    if answers_images(data.source):
        table = answers_of(student, data, part, batch_size=batch_size, device=device, disturbance=disturbance)
        return table, summarise_answers(table, seed=seed)
    scores, bins = score_split(
        student,
        data,
        part,
        class_names=data.source.class_names,
        batch_size=batch_size,
        device=device,
        disturbance=disturbance,
    )
    return scores, summarise(scores, bins, seed=seed)
