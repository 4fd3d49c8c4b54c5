"""Who scores corrupted images: worker processes where students answer on the CPU, else this process."""

import os
import pickle

import numpy as np
import pytest
import torch

from meddistill.data import Case
from meddistill.errors import DataError
from meddistill.evaluation.corruptions import corruptions_of
from meddistill.training.corrupted_images import Pictures, Piece, View
from meddistill.training.corrupted_scores import Examined, examined, pictures_of, scored_pieces
from meddistill.training.finished_runs import finished_runs
from sweep_task import finished_run
from tests.recipes import tiny

VIEW = View(0, (8, 8), "bilinear")
[SPECKLE] = corruptions_of(["speckle"], dims=2)
PIECES = [Piece(SPECKLE, severity, names) for severity in (1, 5) for names in (("a", "b"), ("c",))]


class Noise:
    """A source whose images are the noise of their case's name."""

    def read_image(self, case):
        """Pixels (1, 8, 8)."""
        return np.random.default_rng(ord(case.id)).integers(0, 256, (1, 8, 8)).astype(np.uint8)


def where(images, names):
    """The process that scores, and what it sees."""
    assert len(images) == len(names)
    return os.getpid(), images.float().mean().item()


def scored(jobs, device="cpu", score=where):
    pictures = Pictures(Noise(), {name: Case(name) for name in "abc"})
    runs = [Examined(name, VIEW, score, torch.device(device)) for name in ("kd", "iid")]
    return list(scored_pieces(PIECES, [pictures], runs, seed=0, jobs=jobs))


@pytest.mark.parametrize(("jobs", "device", "here"), [(0, "cpu", True), (2, "cpu", False), (2, "cuda", True)])
def test_who_scores(jobs, device, here):
    found = scored(jobs, device)
    assert [len(tables) for tables in found] == [2] * 4
    assert {pid == os.getpid() for tables in found for pid, _ in tables} == {here}


def test_all_ways_see_the_same_images():
    seen = [[[mean for _, mean in tables] for tables in scored(*way)] for way in ((0,), (2,), (1, "cuda"))]
    assert seen[0] == seen[1] == seen[2]
    assert len({mean for tables in seen[0] for mean in tables}) == 4


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_cannot_be_scored_says_so(device):
    def refuse(_images, names):
        raise DataError(f"case {names[0]}: the logits hold NaN or infinity")

    with pytest.raises(DataError, match=r"^case a: the logits hold NaN or infinity$"):
        scored(1, device, refuse)


def test_a_run_can_be_sent_to_a_process_that_is_no_fork(tmp_path):
    run = finished_runs([finished_run(tmp_path / "iid-s0", tiny())])[0]
    [pictures], [place] = pictures_of([run])
    sent = examined(run, place)
    received = pickle.loads(pickle.dumps(sent))  # noqa: S301 - written a moment ago
    names = list(pictures.cases)[:2]
    images = torch.stack([torch.from_numpy(pictures.source.read_image(pictures.cases[n])) for n in names])
    tables = sent.score(images, names), received.score(images, names)
    assert tables[0]["case"].tolist() == names
    assert tables[0]["nll"].tolist() == tables[1]["nll"].tolist()
