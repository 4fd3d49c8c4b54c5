"""Scores of a run that answers once per image, written into its folder."""

from __future__ import annotations

from typing import Any

import torch

from meddistill.evaluation import AnswerTable, answer_images, summarise_answers
from meddistill.evaluation.answer_gallery import make_answer_gallery
from meddistill.evaluation.disturbance import Disturbance
from meddistill.evaluation.inference import Network
from meddistill.files import write_json
from meddistill.training.data import TaskData
from meddistill.training.run_folder import RunFolder
from meddistill.training.scoring import shown


def evaluate_answers(
    student: Network,
    teacher: Network | None,
    data: TaskData,
    part: str,
    *,
    folder: RunFolder,
    split: str,
    batch_size: int,
    device: torch.device | str,
    seed: int,
) -> dict[str, Any]:
    """Ask the student about every image of a split; write its answers, the worst of them and the summary.

    Args:
        student: on `device`.
        teacher: for the images that the student gets wrong, or None.
        data: has the images.
        part: name of their split in it.
        folder: of the run.
        split: what the run folder calls the split.
        batch_size: images at a time.
        device: where to send them.
        seed: of the intervals.

    Raises:
        DataError: an image cannot be read, or no label is known.
    """
    table = answers_of(student, data, part, batch_size=batch_size, device=device)
    table.write_csv(folder.scores(split))
    make_answer_gallery(teacher, data.dataset(part), table).save(folder.gallery(split))
    summary = summarise_answers(table, seed=seed)
    write_json(folder.summary(split), summary)
    return summary


def answers_of(
    student: Network,
    data: TaskData,
    part: str,
    *,
    batch_size: int,
    device: torch.device | str,
    disturbance: Disturbance | None = None,
) -> AnswerTable:
    """The student's answers about every image of a split, or about what a disturbance makes of them.

    Raises:
        DataError: an image cannot be read.
    """
    return answer_images(
        student,
        shown(data, part, student, batch_size=batch_size, disturbance=disturbance),
        class_names=data.source.class_names,
        task=data.task,
        cases=data.cases(part),
        device=device,
    )
