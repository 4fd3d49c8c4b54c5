from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from meddistill.config import load_recipe, parse_overrides, recipe_to_yaml
from meddistill.config.load import check_recipe, merge, parse_yaml, shipped_recipes
from meddistill.errors import ConfigError


def minimal(**changes):
    base = {
        "name": "tiny",
        "data": {
            "source": {"kind": "phantom"},
            "size": [32, 32],
            "splits": {"fractions": {"train": 0.8, "test": 0.2}},
        },
        "model": {"name": "pcd/unet", "options": {"width": 4}},
        "method": {"name": "supervised"},
        "training": {"epochs": 2, "batch_size": 4},
    }
    return merge(base, changes)


def message(mapping) -> str:
    with pytest.raises(ConfigError) as caught:
        check_recipe(mapping)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_student_that_answers_once_per_image_is_refused():
    text = message(minimal(model={"name": "timm/resnet18"}))
    assert text.startswith(
        "model.name: timm/resnet18 answers once per image; a student that segments is one of"
    )


@pytest.mark.parametrize(
    "weights", ["uniform", "confidence", "best", "validation_per_class", [1, 2.5], [[1, 0], [0.5, 1]]]
)
def test_an_ensemble_survives_yaml(weights):
    members = [
        {"path": "a", "class_map": [0, [1, 2], None]},
        {"row": "b", "standardise": "image", "mean": [0.5]},
    ]
    recipe = check_recipe(minimal(teacher={"members": members, "combine": "logits", "weights": weights}))
    assert recipe.teacher.members[0].class_map == [0, [1, 2], None]
    assert check_recipe(yaml.safe_load(recipe_to_yaml(recipe))) == recipe


def test_a_minimal_recipe_gets_the_stated_defaults():
    recipe = check_recipe(minimal())
    assert recipe.seed == 0
    assert recipe.training.lr == 0.003
    assert recipe.training.scheduler == "constant"
    assert recipe.data.source.cases == 120


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"training": {"epoch": 3}}, "training.epoch: unknown key 'epoch'; did you mean 'epochs'?"),
        ({"trainning": {}}, "trainning: unknown key 'trainning'; did you mean 'training'?"),
        ({"data": {"source": {"case": 3}}}, "data.source.case: unknown key 'case'; did you mean 'cases'?"),
        ({"training": {"epochs": -1}}, "training.epochs: input should be greater than 0, got -1"),
        ({"training": {"epochs": "many"}}, "training.epochs: input should be a valid integer, got 'many'"),
        ({"training": {"epochs": True}}, "training.epochs: input should be a valid integer, got True"),
        ({"training": {"lr": "high"}}, "training.lr: input should be a valid number, got 'high'"),
        ({"teacher": {"floor": 1.5}}, "teacher.floor: input should be less than or equal to 1, got 1.5"),
        (
            {"teacher": {"class_map": [0, "a"]}},
            "teacher.class_map.1: input should be a valid integer, got 'a'",
        ),
        (
            {"teacher": {"weights": "valdation"}},
            "teacher.weights: input should be 'uniform', 'confidence', 'best', 'validation' or "
            "'validation_per_class', got 'valdation'",
        ),
        (
            {"teacher": {"members": [{"path": "a"}, {"pth": "x"}]}},
            "teacher.members.1.pth: unknown key 'pth'; did you mean 'path'?",
        ),
        (
            {"teacher": {"members": [{"path": "a", "row": "b"}]}},
            "teacher.members.0: give path, or in a study row (and not both)",
        ),
        ({"teacher": {"members": [{}]}}, "teacher.members.0: give path, or in a study row (and not both)"),
        (
            {"teacher": {"members": [{"path": "a"}], "path": "b"}},
            "teacher.path: leave it out where teacher.members are given; each has its own",
        ),
        (
            {"teacher": {"members": [{"path": "a"}], "mean": [0.5]}},
            "teacher.mean: leave it out where teacher.members are given; each has its own",
        ),
        (
            {"teacher": {"path": "a", "weights": [1, 2]}},
            "teacher.weights and teacher.combine belong to an ensemble: give teacher.members",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_the_nearest_name(changes, expected):
    assert message(minimal(**changes)) == expected


def test_unknown_kind_names_the_known_ones():
    text = message(minimal(data={"source": {"kind": "folders"}}))
    assert text.startswith("data.source:")
    for kind in ("folder", "manifest", "palette", "phantom"):
        assert repr(kind) in text


def test_unknown_methods_and_method_options_are_refused_when_the_recipe_is_read():
    assert "did you mean 'paced'" in message(minimal(method={"name": "pacde"}))
    assert "beta" in message(minimal(method={"name": "paced", "bta": 0.5}))
    assert "beta" in message(minimal(method={"name": "paced", "beta": 1.5}))


def test_three_sizes_for_flat_images_are_refused():
    source = {"kind": "folder", "root": "somewhere"}
    assert "three sizes" in message(minimal(data={"source": source, "size": [8, 8, 8]}))


def test_missing_key_is_named():
    mapping = minimal()
    del mapping["training"]["epochs"]
    assert message(mapping) == "training.epochs: this key is required"


def test_overrides_are_nested_and_typed():
    assert parse_overrides(["--training.lr", "1e-2", "--data.size=[8, 8]", "--teacher.path", "null"]) == {
        "training": {"lr": 0.01},
        "data": {"size": [8, 8]},
        "teacher": {"path": None},
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stray"], "unexpected argument 'stray'"),
        (["--seed"], "--seed needs a value"),
        (["--seed", "1", "--seed.x", "2"], "--seed.x contradicts --seed"),
        (["--seed", "[1"], "--seed is not valid YAML"),
    ],
)
def test_malformed_overrides_are_refused(arguments, said):
    with pytest.raises(ConfigError, match=said.replace("[", r"\[")):
        parse_overrides(arguments)


def test_yaml_tags_that_ask_for_code_are_refused():
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_yaml("x: !!python/object/apply:os.getcwd []", "test")


@pytest.mark.parametrize("text", ["3e-3", "0.003", "3.0e-3", "+3E-3"])
def test_numbers_in_every_notation_are_numbers(text):
    assert parse_yaml(text, "test") == pytest.approx(0.003)


def test_a_resolved_recipe_reads_back_as_itself():
    recipe = check_recipe(minimal(seed=3))
    assert check_recipe(yaml.safe_load(recipe_to_yaml(recipe))) == recipe


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_and_each_of_its_rows_is_valid(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    for row in recipe.study.rows if recipe.study else ():
        assert load_recipe(name, row=row).name == name


def test_unknown_recipe_offers_the_nearest():
    with pytest.raises(ConfigError, match="unknown recipe 'pcd-bus'; did you mean 'pcd-busi'"):
        load_recipe("pcd-bus")


def test_a_row_can_be_left_out():
    rows = {"tpl": None, "cpl": {"method": {"name": "supervised"}}}
    study = load_recipe("pcd-busi-small", {"study": {"rows": rows}}).study
    assert list(study.rows) == ["iid", "kd", "tpl_uncert", "cpl", "cpl_tpl"]
    assert study.rows["cpl"]["method"] == {"name": "supervised"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("tlp", "study.rows: unknown row 'tlp'; did you mean 'tpl'?"),
        ("iid", "study.baseline: unknown row 'iid'"),
    ],
)
def test_a_row_that_cannot_be_left_out(row, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_recipe("pcd-busi-small", {"study": {"rows": {row: None}}})


def test_unknown_row_offers_the_nearest():
    with pytest.raises(ConfigError, match="unknown row 'tpl_uncertain'; did you mean 'tpl_uncert'"):
        load_recipe("pcd-busi", row="tpl_uncertain")


def test_a_recipe_that_is_a_list_is_refused(tmp_path):
    file = tmp_path / "list.yaml"
    file.write_text("- 1\n")
    with pytest.raises(ConfigError, match="must be a mapping"):
        load_recipe(str(file))


@given(st.text(alphabet="0123456789.eE+-_ :#'\"ynotrue~", min_size=1))
def test_any_text_survives_being_written_and_read(text):
    recipe = check_recipe(minimal(name=text))
    assert check_recipe(parse_yaml(recipe_to_yaml(recipe), "test")) == recipe
