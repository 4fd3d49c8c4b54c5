"""Labels that a recipe makes wrong: from its checks to the run folder and the page."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from meddistill.cli import run
from meddistill.config.load import check_recipe
from meddistill.data.noise import create_noise
from meddistill.errors import ConfigError, RunError
from meddistill.evaluation import AnswerTable
from meddistill.report import write_report
from meddistill.training.data import TaskData
from meddistill.training.evaluate import evaluate
from meddistill.training.fit import fit
from meddistill.training.inspection import inspect_data
from meddistill.training.noise_record import describe_noise
from meddistill.training.run_folder import read_json
from tests import answer_recipes
from tests.mistakes import the_line
from tests.recipes import tiny, tiny_recipe, write_recipe

SYMMETRIC = {"name": "symmetric", "rate": 0.4}


def of_classes(place, noise, **changes):
    return check_recipe(answer_recipes.classes(place, data={"noise": noise, **changes}))


def labels_of(data, split):
    cache = data.dataset(split).cache
    return cache.labels.read(range(len(cache))).numpy()


def true_labels(data, split):
    return np.stack([data.source.read_label(case) for case in data.split.cases[split]])


# Checks


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        ({"name": "symetric", "rate": 0.2}, "unknown label noise 'symetric'; did you mean 'symmetric'?"),
        ({"name": "symmetric", "rat": 0.2}, "unknown option of symmetric 'rat'; did you mean 'rate'?"),
        ({"name": "symmetric", "rate": 0.2, "split": ["test"]}, "did you mean 'splits'?"),
        ({"name": "symmetric"}, "symmetric needs the option rate"),
        ({"name": "symmetric", "rate": 2}, "rate must lie in 0..1, not 2"),
        ({"rate": 0.2}, "data.noise.name: this key is required"),
        ({**SYMMETRIC, "splits": ["tran"]}, "data.noise.splits.0: input should be 'train', 'selection'"),
        ({**SYMMETRIC, "seed": -1}, "data.noise.seed: input should be greater than or equal to 0"),
        ({"name": "erosion"}, "erosion is for maps, but data.source has labels of whole images; give sym"),
        ({"name": "class_conditional", "matrix": [[0.9, 0.2], [0, 1]]}, "row 0 of matrix adds up to 1.1"),
        ({"name": "class_conditional", "matrix": [[1, 0], [0, 1]]}, "has 2 rows, but there are 3 classes"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(tmp_path, noise, words):
    with pytest.raises(ConfigError) as caught:
        TaskData.from_recipe(of_classes(tmp_path, noise))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_noise_for_classes_is_refused_for_maps():
    with pytest.raises(
        ConfigError, match=r"symmetric is for classes, but data.source has maps; give erosion"
    ):
        tiny_recipe(data={"noise": SYMMETRIC})


def test_a_split_without_cases_is_refused():
    splits = {"fractions": {"train": 0.8, "test": 0.2}}
    recipe = tiny(data={"noise": {"name": "erosion", "splits": ["train", "selection"]}})
    recipe["data"]["splits"] = splits
    with pytest.raises(ConfigError, match=r"data.noise.splits: the selection split has no cases"):
        TaskData.from_recipe(check_recipe(recipe))


def test_volumes_are_scored_as_their_files_are():
    recipe = tiny_recipe(
        data={"noise": {"name": "erosion", "splits": ["test"]}, "size": [32, 32, 32]},
        model={"name": "monai/unet", "options": {}},
    )
    with pytest.raises(ConfigError, match="volumes are scored as their files are; leave out test"):
        TaskData.from_config(recipe.data)


def test_a_method_that_reads_no_labels_takes_no_noise():
    method = {"name": "pseudo_label_transfer", "exclude": []}
    with pytest.raises(ConfigError, match=r"data.noise makes labels wrong that pseudo_label_transfer"):
        TaskData.from_recipe(tiny_recipe(method=method, data={"noise": {"name": "erosion"}}))


def test_images_without_labels_take_no_noise(tmp_path):
    source = {"kind": "images", "root": str(tmp_path)}
    with pytest.raises(ConfigError, match=r"data.source has none; leave it out"):
        tiny_recipe(data={"source": source, "noise": {"name": "erosion"}})


# What is seen


def test_only_the_training_split_is_touched_unless_others_are_asked_for(tmp_path):
    data = TaskData.from_recipe(of_classes(tmp_path, SYMMETRIC))
    for split in ("selection", "calibration", "test"):
        assert np.array_equal(labels_of(data, split), true_labels(data, split))
    assert not np.array_equal(labels_of(data, "train"), true_labels(data, "train"))
    asked = TaskData.from_recipe(of_classes(tmp_path, {**SYMMETRIC, "splits": ["selection"]}))
    assert np.array_equal(labels_of(asked, "train"), true_labels(asked, "train"))
    assert not np.array_equal(labels_of(asked, "selection"), true_labels(asked, "selection"))


def test_the_seed_is_that_of_the_recipe_unless_given(tmp_path):
    def noisy(of_recipe, **more):
        mapping = answer_recipes.classes(tmp_path, seed=of_recipe, data={"noise": {**SYMMETRIC, **more}})
        return labels_of(TaskData.from_recipe(check_recipe(mapping)), "train").tolist()

    assert noisy(1) == noisy(1)
    assert noisy(1) == noisy(2, seed=1)
    assert noisy(1) != noisy(2)


def test_maps_are_changed_at_the_size_of_training():
    data = TaskData.from_recipe(tiny_recipe(data={"noise": {"name": "erosion", "width": 2}}, seed=3))
    noise = create_noise("erosion", width=2)
    pairs = zip(data.split.cases["train"], labels_of(data, "train"), true_labels(data, "train"), strict=True)
    for case, noisy, true in pairs:
        assert np.array_equal(noisy, noise.apply(true, seed=3, case_id=case.id))


def test_other_noise_is_other_data(tmp_path):
    prints = set()
    for noise in (None, SYMMETRIC, {**SYMMETRIC, "rate": 0.1}, {**SYMMETRIC, "seed": 5}):
        data = TaskData.from_recipe(of_classes(tmp_path, noise))
        data.decode()
        prints.add(data.fingerprint())
    assert len(prints) == 4


def test_balanced_batches_go_by_the_labels_that_were_noted(tmp_path):
    """Every label of class 0 becomes 1: two kinds are left, and each is half of what is drawn."""
    everything = {"name": "class_conditional", "matrix": [[0, 1, 0], [0, 1, 0], [0, 0, 1]]}
    data = TaskData.from_recipe(of_classes(tmp_path, everything, balanced=True))
    loader = data.training_loader(batch_size=10, seed=0, workers=0)
    drawn = [label for batch in loader for label in batch["label"].tolist()]
    assert (drawn.count(1), drawn.count(2), len(drawn)) == (15, 15, 30)


def test_weak_labels_are_made_of_the_noisy_ones():
    supervision = {"full_groups": 5, "full_per_batch": 2, "weak": {"kind": "eroded"}}
    noise = {"name": "missing_lesion", "rate": 1.0}
    data = TaskData.from_recipe(tiny_recipe(data={"noise": noise, "supervision": supervision}))
    cache = data.dataset("train").cache
    assert not any((cache.weak_map(index) == 1).any() for index in range(len(cache)))


# The run


@pytest.fixture(scope="module")
def noisy_run(tmp_path_factory):
    place = tmp_path_factory.mktemp("noisy")
    recipe = of_classes(place, SYMMETRIC, splits={"subset": {"index": 1, "of": 3, "fraction": 0.8}})
    return recipe, fit(recipe, place / "run")


def test_the_run_folder_says_what_was_really_done(noisy_run):
    recipe, folder = noisy_run
    lines = list(csv.DictReader(folder.label_noise.open()))
    wrong = [line for line in lines if line["given"] != line["true"]]
    said = read_json(folder.environment)["label_noise"]
    done = said["splits"]["train"]
    assert (said["name"], said["rate"], said["seed"], said["unit"]) == ("symmetric", 0.4, 0, "labels")
    assert (done["cases"], done["changed_cases"]) == (len(lines), len(wrong))
    assert done["share"] == len(wrong) / len(lines) > 0
    counts = np.array(done["counts"])
    assert counts.sum() == len(lines)
    assert counts.sum() - counts.trace() == len(wrong)
    assert all(line["case"].startswith(line["true"]) for line in lines)
    data = TaskData.from_recipe(recipe)
    names = [data.source.class_names[label] for label in labels_of(data, "train")]
    assert [line["given"] for line in lines] == names


def test_the_run_folder_names_the_subset(noisy_run):
    said = read_json(noisy_run[1].environment)
    assert (said["subset"]["index"], said["subset"]["of"], said["subset"]["fraction"]) == (1, 3, 0.8)
    assert said["subset"]["sizes"][1] == said["split_counts"]["train"]
    assert said["subset"]["expected_overlap"] == pytest.approx(0.64)
    assert set(said["subset"]["overlaps"]) == {"0-1", "0-2", "1-2"}


def test_the_page_says_it_in_a_line_each(noisy_run):
    folder = noisy_run[1]
    page = write_report(folder).read_text(encoding="utf-8")
    done = read_json(folder.environment)["label_noise"]["splits"]["train"]
    assert (
        f"{done['changed_cases']} of {done['cases']} train cases were given wrong labels on purpose" in page
    )
    assert "subset 1 of 3 overlapping ones, each with 80.0 % of its groups" in page


def test_training_cases_are_scored_against_the_truth(noisy_run):
    recipe, folder = noisy_run
    evaluate(folder.root, split="train")
    table = AnswerTable.read_csv(folder.scores("train"))
    assert np.array_equal(table.labels, true_labels(TaskData.from_recipe(recipe), "train"))


def test_other_noise_cannot_go_on_with_the_run(noisy_run, tmp_path):
    recipe, folder = noisy_run
    other = recipe.data.noise.model_copy(update={"seed": 7})
    changed = recipe.model_copy(update={"data": recipe.data.model_copy(update={"noise": other})})
    with pytest.raises(RunError, match=r"another recipe \(different: data\)"):
        fit(changed, folder.root, resume=True)


def test_the_folder_of_maps_says_how_far_each_was_changed(tmp_path):
    noise = {"name": "dilation", "rate": 0.5, "width": 1, "splits": ["train", "test"]}
    folder = fit(tiny_recipe(training={"epochs": 1}, data={"noise": noise}), tmp_path / "run")
    lines = list(csv.DictReader(folder.label_noise.open()))
    said = read_json(folder.environment)["label_noise"]
    assert list(lines[0]) == ["split", "case", "changed_share"]
    assert {line["split"] for line in lines} == {"train", "test"}
    shares = [float(line["changed_share"]) for line in lines if line["split"] == "train"]
    assert said["unit"] == "pixels"
    assert said["splits"]["train"]["changed_cases"] == sum(share > 0 for share in shares) > 0
    assert said["splits"]["train"]["share"] == pytest.approx(np.mean(shares), abs=1e-6)


def test_without_noise_nothing_is_written(tmp_path):
    folder = fit(tiny_recipe(training={"epochs": 1}), tmp_path / "run")
    assert not folder.label_noise.exists()
    assert "label_noise" not in read_json(folder.environment)


def test_several_labels_are_written_as_words(tmp_path):
    recipe = check_recipe(answer_recipes.labels(tmp_path, data={"noise": {"name": "symmetric", "rate": 1.0}}))
    done = describe_noise(TaskData.from_recipe(recipe))["label_noise"]["splits"]["train"]
    assert done["share"] == 1.0
    assert "counts" not in done


def test_the_inspector_shows_stated_and_real_noise(tmp_path):
    file = write_recipe(tmp_path, data={"noise": {"name": "missing_lesion", "rate": 1.0}})
    [table] = [table for table in inspect_data(str(file)).tables if table.title.startswith("Label noise")]
    assert table.title == "Label noise (name missing_lesion, rate 1.0, seed 0)"
    [(split, cases, changed, share)] = table.rows
    assert (split, cases) == ("train", 16)
    assert 0 < changed <= 16
    assert float(share.rstrip("%")) > 0


def test_a_wrong_option_ends_the_command_in_one_line(tmp_path, capfd):
    file = write_recipe(tmp_path, data={"noise": {"name": "erosion", "widht": 2}})
    assert run(["train", str(file), "-o", str(tmp_path / "run")]) == 2
    assert "did you mean 'width'?" in the_line(*capfd.readouterr())
    assert not (tmp_path / "run").exists()
