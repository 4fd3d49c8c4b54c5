"""Attacks of a recipe: the sets they make, and what is refused."""

from __future__ import annotations

import pytest
import yaml

from meddistill.config import recipe_to_yaml
from meddistill.config.attacks import attacked_sets
from meddistill.config.load import check_recipe
from meddistill.errors import ConfigError
from tests.recipes import tiny, tiny_recipe

NEAR = {"near": {"source": {"kind": "phantom", "cases": 6, "seed": 9}}}


def test_a_list_of_strengths_makes_a_set_for_each():
    attacks = {"pgd": {"kind": "pgd", "eps": [0.5, 1, 2]}, "fgsm_2": {"kind": "fgsm", "eps": 2, "of": "near"}}
    recipe = tiny_recipe(attacks=attacks, tests=NEAR)
    sets = attacked_sets(recipe.attacks)
    assert {name: (made.attack, made.eps, made.config.of) for name, made in sets.items()} == {
        "pgd-0.5": ("pgd", 0.5, "test"),
        "pgd-1": ("pgd", 1, "test"),
        "pgd-2": ("pgd", 2, "test"),
        "fgsm_2": ("fgsm_2", 2, "near"),
    }
    assert sets["pgd-1"].config.steps == 10
    assert sets["pgd-1"].config.random_start


def test_attacks_survive_yaml():
    attacks = {"pgd": {"kind": "pgd", "eps": [1, 4], "steps": 3, "step_size": 1.5, "random_start": False}}
    recipe = tiny_recipe(attacks=attacks)
    assert check_recipe(yaml.safe_load(recipe_to_yaml(recipe))) == recipe
    assert recipe.attacks["pgd"].step_size == 1.5
    assert tiny_recipe().attacks == {}


@pytest.mark.parametrize(
    ("attacks", "said"),
    [
        ({"pgd": {"kind": "pgd", "eps": -1}}, r"attacks\.pgd\.eps: -1 is no strength; give grey levels"),
        ({"pgd": {"kind": "pgd", "eps": 0}}, r"attacks\.pgd\.eps: 0 is no strength"),
        ({"pgd": {"kind": "pgd", "eps": [1, 256]}}, r"attacks\.pgd\.eps: 256 is no strength"),
        ({"pgd": {"kind": "pgd", "eps": float("nan")}}, r"attacks\.pgd\.eps: nan is no strength"),
        ({"pgd": {"kind": "pgd", "eps": [2, 1]}}, "from weak to strong, for example"),
        ({"pgd": {"kind": "pgd", "eps": [1, 1.0]}}, "from weak to strong"),
        ({"pgd": {"kind": "pgd", "eps": []}}, "from weak to strong"),
        ({"pgd": {"kind": "pgd", "eps": "2/255"}}, r"attacks\.pgd\.eps: input should be a valid number"),
        ({"pgd": {"kind": "pgd", "eps": True}}, r"attacks\.pgd\.eps: input should be a valid number"),
        ({"pgd": {"kind": "pgd"}}, r"attacks\.pgd\.eps: this key is required"),
        ({"pgd": {"kind": "pgd", "eps": 1, "steps": 0}}, r"attacks\.pgd\.steps: .* greater than 0, got 0"),
        ({"pgd": {"kind": "pgd", "eps": 1, "stepps": 3}}, r"attacks\.pgd\.stepps: .* did you mean 'steps'"),
        ({"pgd": {"kind": "cw", "eps": 1}}, r"attacks\.pgd: input tag 'cw' .* 'fgsm', 'pgd'"),
        ({"pgd": {"kind": "pgd", "eps": 1, "of": "far"}}, r"attacks\.pgd\.of: unknown test set 'far'"),
        ({"test": {"kind": "fgsm", "eps": 1}}, r"attacks\.test: this is the name of a split"),
        ({"a/b": {"kind": "fgsm", "eps": 1}}, "attacks: 'a/b' cannot name files"),
        ({"Near": {"kind": "fgsm", "eps": 1}}, "its set Near would be called as the test set near"),
        (
            {"pgd": {"kind": "pgd", "eps": [1]}, "pgd-1": {"kind": "pgd", "eps": 1}},
            r"attacks\.pgd-1: its set pgd-1 would be called as a set of the attack pgd",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(attacks, said):
    with pytest.raises(ConfigError, match=said) as caught:
        check_recipe(tiny(attacks=attacks, tests=NEAR))
    assert "\n" not in str(caught.value)
