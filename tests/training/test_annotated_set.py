"""The data folder that `annotate --masks` makes: what it holds, and that it can be trained on."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import yaml
from PIL import Image
from torch.nn import functional as F

from meddistill.config.load import check_recipe
from meddistill.data import ManifestSource
from meddistill.data.phantom import PhantomSource, write_phantom
from meddistill.errors import DataError
from meddistill.teachers.annotate import Shard
from meddistill.training.annotation import annotate_recipe
from meddistill.training.data import TaskData, build_source
from meddistill.training.fit import fit
from tests.mistakes import snapshot
from tests.recipes import tiny, tiny_recipe
from tests.training.test_transfer import pair, transfer


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """16 phantoms of 48 x 40, larger than the 32 x 32 that teacher and student see."""
    root = tmp_path_factory.mktemp("phantoms") / "images"
    return write_phantom(root, PhantomSource(16, size=(48, 40), seed=1))


def few(images, run, alpha=1500, **more):
    return transfer(images, run, exclude=[{"name": "target_pixels", "alpha": alpha}], **more)


@pytest.fixture(scope="module")
def made(tmp_path_factory, images, good_teacher_run):
    place = tmp_path_factory.mktemp("annotated")
    recipe = few(images, good_teacher_run)
    return place / "set", annotate_recipe(recipe, place / "store", masks=place / "set"), recipe


def rows_of(folder):
    with open(folder / "manifest.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_images_masks_and_soft_masks_are_at_the_size_of_the_image(made, images):
    folder, found, _ = made
    kept = found.exclusion.kept
    assert 0 < len(kept) < 16
    for case in kept:
        copy = folder / "images" / f"{case}.png"
        assert copy.read_bytes() == (images / f"{case}.png").read_bytes()
        mask = Image.open(folder / "masks" / f"{case}.png")
        soft = Image.open(folder / "soft" / f"{case}.png")
        assert mask.size == soft.size == (40, 48)
        assert mask.mode == soft.mode == "L"
        assert set(np.unique(mask)) <= {0, 255}
        assert np.array_equal(np.array(mask) > 0, np.array(soft) > 127)
    for kind in ("images", "masks", "soft"):
        assert len(list((folder / kind).rglob("*.*"))) == len(kept)


def test_the_masks_are_the_stored_answers_brought_to_that_size(made):
    folder, found, _ = made
    case = found.exclusion.kept[0]
    logits = found.stored.of_images([case]).read([(0, 0)])
    whole = F.interpolate(logits, size=(48, 40), mode="bilinear")[0]
    mask = np.array(Image.open(folder / "masks" / f"{case}.png"))
    assert np.array_equal(mask == 255, whole.argmax(0).numpy() == 1)
    soft = np.array(Image.open(folder / "soft" / f"{case}.png")) / 255
    assert np.abs(soft - whole.softmax(0)[1].numpy()).max() <= 0.5 / 255 + 1e-6


def test_the_lists_say_what_is_there_and_what_is_not(made):
    folder, found, _ = made
    rows = rows_of(folder)
    assert [row["image"] for row in rows] == [f"images/{case}.png" for case in found.exclusion.kept]
    assert {row["split"] for row in rows} == {"train", "selection"}
    table = (folder / "exclusion.csv").read_text().splitlines()
    assert len(table) == 17
    assert sum(",no," in line for line in table) == len(found.exclusion.removed)
    assert Image.open(folder / "sheet.png").size[0] > 500
    lists = {"manifest.csv", "source.yaml", "exclusion.json", "exclusion.csv", "sheet.png"}
    assert {path.name for path in folder.iterdir()} == {"images", "masks", "soft", *lists}


def test_the_source_that_it_names_reads_the_masks(made):
    folder, found, _ = made
    section = yaml.safe_load((folder / "source.yaml").read_text())["data"]["source"]
    recipe = tiny(data={"source": section})
    recipe["data"]["splits"] = {}
    data = TaskData.from_config(check_recipe(recipe).data)
    assert len(data.split.cases["train"]) + len(data.split.cases["selection"]) == len(found.exclusion.kept)
    case = data.source.cases[0]
    mask = np.array(Image.open(folder / rows_of(folder)[0]["label"]))
    assert np.array_equal(data.source.read_label(case), mask // 255)


def test_a_student_is_trained_on_the_folder(made, tmp_path):
    folder, _, _ = made
    section = yaml.safe_load((folder / "source.yaml").read_text())["data"]["source"]
    recipe = tiny(data={"source": section}, training={"epochs": 1})
    recipe["data"]["splits"] = {}
    assert fit(check_recipe(recipe), tmp_path / "run").finished


def test_a_training_finds_the_store_that_was_annotated(made, tmp_path, good_teacher_run, capsys):
    folder, _, recipe = made
    store = recipe.teacher.model_copy(update={"store": str(folder.parent / "store")})
    fit(recipe.model_copy(update={"teacher": store}), tmp_path / "run")
    assert "all 16 rows were there" in capsys.readouterr().err


def test_the_last_shard_writes_it(tmp_path, images, good_teacher_run, made):
    recipe = few(images, good_teacher_run)
    first = annotate_recipe(recipe, tmp_path / "store", shard=Shard(1, 2), masks=tmp_path / "set")
    assert first.exclusion is None
    assert not (tmp_path / "set").exists()
    annotate_recipe(recipe, tmp_path / "store", shard=Shard(2, 2), masks=tmp_path / "set")
    again, whole = snapshot(tmp_path / "set"), snapshot(made[0])
    del again["source.yaml"], whole["source.yaml"]
    assert again == whole


def test_several_classes_are_numbers_and_all_their_probabilities(tmp_path, images, good_teacher_run):
    maps = [[0, 1, None], [0, None, 1]]
    members = [{"path": str(good_teacher_run.root), "class_map": found} for found in maps]
    recipe = few(images, good_teacher_run, teacher={"members": members}, alpha=0)
    source = recipe.data.source.model_copy(update={"class_names": ["background", "lesion", "cyst"]})
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": source})})
    annotate_recipe(recipe, tmp_path / "store", masks=tmp_path / "set")
    row = rows_of(tmp_path / "set")[0]
    mask = np.array(Image.open(tmp_path / "set" / row["label"]))
    soft = tmp_path / "set" / row["label"].replace("masks/", "soft/").replace(".png", ".npz")
    probabilities = np.load(soft)["probabilities"]
    assert probabilities.shape == (3, 48, 40)
    assert probabilities.dtype == np.float16
    assert np.allclose(probabilities.sum(0, dtype=np.float32), 1, atol=2e-3)
    chosen = np.take_along_axis(probabilities, mask[None].astype(int), 0)[0]
    assert np.array_equal(chosen, probabilities.max(0))


def test_members_are_stored_one_by_one_where_a_rule_compares_them(
    tmp_path, images, good_teacher_run, monkeypatch
):
    monkeypatch.setattr("meddistill.exclusion.TargetPixels.needs_members", True)
    recipe = few(images, good_teacher_run, teacher=pair(good_teacher_run))
    found = annotate_recipe(recipe, tmp_path / "store", masks=tmp_path / "set")
    assert len(list((tmp_path / "store").iterdir())) == 2
    assert found.done.written == 32
    assert (tmp_path / "set" / "manifest.csv").is_file()


def test_generated_images_are_written_too(tmp_path, good_teacher_run):
    recipe = tiny_recipe(method={"name": "distillation"}, teacher={"path": str(good_teacher_run.root)})
    annotate_recipe(recipe, tmp_path / "store", masks=tmp_path / "set")
    source = ManifestSource(tmp_path / "set" / "manifest.csv", num_classes=2)
    assert len(source.cases) == 16
    original = build_source(recipe.data.source, size=(32, 32))
    by_id = {f"images/{case.id}": case for case in original.cases}
    case = source.cases[3]
    assert np.array_equal(source.read_image(case), original.read_image(by_id[case.id]))


def test_a_folder_that_is_there_is_left_alone(tmp_path, images, good_teacher_run):
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match="set exists already"):
        annotate_recipe(few(images, good_teacher_run), tmp_path / "store", masks=tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_nothing_kept_leaves_no_folder(tmp_path, images, good_teacher_run):
    with pytest.raises(DataError, match="no case of the transferal set is left"):
        annotate_recipe(
            few(images, good_teacher_run, alpha=65536), tmp_path / "store", masks=tmp_path / "set"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
