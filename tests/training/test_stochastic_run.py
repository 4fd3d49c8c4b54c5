"""Robust stochastic distillation from a stored ensemble, the whole way."""

from __future__ import annotations

import pytest

from meddistill.errors import RunError
from meddistill.methods import StochasticEnsembleDistillation
from meddistill.training.fit import fit
from meddistill.training.module import DistillationModule
from tests.recipes import tiny_recipe


def recipe(run, mode, **options):
    path = str(run.root)
    members = [{"path": path}, {"path": path, "mean": [0.4]}, {"path": path, "std": [0.5]}]
    average = {"kind": "swa", "start": 0.5}
    return tiny_recipe(
        teacher={"members": members, "mode": mode},
        method={"name": "stochastic", **options},
        training={"epochs": 4, "average": average},
    )


@pytest.mark.parametrize("mode", ["joint", "live"])
@pytest.mark.parametrize("per", ["batch", "sample"])
def test_a_resumed_run_ends_with_the_weights_of_a_whole_one(tmp_path, teacher_run, monkeypatch, mode, per):
    seen, call = [], StochasticEnsembleDistillation.__call__

    def watched(self, student_logits, batch, teacher_logits=None):
        seen.append(tuple(teacher_logits.shape[1:]))
        return call(self, student_logits, batch, teacher_logits)

    monkeypatch.setattr(StochasticEnsembleDistillation, "__call__", watched)
    whole = fit(recipe(teacher_run, mode, per=per), tmp_path / "whole")
    assert set(seen) == {(3, 2, 32, 32)}
    step = DistillationModule.training_step

    def interrupted(self, batch, batch_index):
        if self.current_epoch == 3:
            raise RunError("stopped")
        return step(self, batch, batch_index)

    monkeypatch.setattr(DistillationModule, "training_step", interrupted)
    with pytest.raises(RunError, match="stopped"):
        fit(recipe(teacher_run, mode, per=per), tmp_path / "parts")
    monkeypatch.setattr(DistillationModule, "training_step", step)
    parts = fit(recipe(teacher_run, mode, per=per), tmp_path / "parts", resume=True)
    assert parts.last_weights.read_bytes() == whole.last_weights.read_bytes()
    uniform = fit(recipe(teacher_run, mode, draw="uniform"), tmp_path / "uniform")
    assert uniform.last_weights.read_bytes() != whole.last_weights.read_bytes()
