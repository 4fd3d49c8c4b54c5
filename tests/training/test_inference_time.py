"""Students are timed in turn, those of one architecture once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from meddistill.errors import RunError
from meddistill.models.spec import ModelSpec
from meddistill.training import inference_time
from meddistill.training.inference_time import inference_times
from meddistill.training.study import PlannedRun
from tests.recipes import tiny_recipe


def planned(folder: Path, *, size: tuple[int, ...] = (32, 32), **spec: object) -> PlannedRun:
    """A run with the file that its time depends on."""
    folder.mkdir()
    model = ModelSpec("pcd/unet", size=size, **{"options": {"width": 2}} | spec)  # type: ignore[arg-type]
    (folder / "model.json").write_text(json.dumps(model.to_json() | {"interpolation": "area"}))
    return PlannedRun("row", 0, tiny_recipe(), folder)


def test_equal_students_are_timed_once_and_larger_ones_take_longer(tmp_path, monkeypatch):
    seen: list[tuple[torch.Size, bool]] = []
    build = ModelSpec.build

    def watched(spec: ModelSpec) -> torch.nn.Module:
        student = build(spec)
        student.register_forward_hook(lambda net, given, _: seen.append((given[0].shape, net.training)))
        return student

    monkeypatch.setattr(ModelSpec, "build", watched)
    monkeypatch.setattr(inference_time, "ROUNDS", 2)
    monkeypatch.setattr(inference_time, "_SECONDS", 0.001)
    small = planned(tmp_path / "a")
    same = planned(tmp_path / "b", class_names=("background", "lesion"))
    large = planned(tmp_path / "c", size=(128, 128), options={"width": 8})
    found = inference_times([small, same, large])
    assert list(found) == [small.folder, same.folder, large.folder]
    assert found[small.folder] == found[same.folder]
    assert 0 < found[small.folder] < found[large.folder]
    assert {shape for shape, _ in seen} == {(1, 1, 32, 32), (1, 1, 128, 128)}
    assert not any(training for _, training in seen)
    shapes = [shape[-1] for shape, _ in seen]
    turns = [size for n, size in enumerate(shapes) if n == 0 or shapes[n - 1] != size]
    assert len(turns) == 4


def test_a_run_without_a_description_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(RunError, match=r"model\.json is missing"):
        inference_times([PlannedRun("row", 0, tiny_recipe(), tmp_path / "a")])
