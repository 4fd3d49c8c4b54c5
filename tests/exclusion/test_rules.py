"""What every rule must do, and how rules are named in a recipe."""

import dataclasses
import json

import pytest
import torch

from meddistill.errors import ConfigError
from meddistill.exclusion import RULES, Answers, Rule, TargetPixels, create_rule, create_rules
from tests.exclusion.answers import for_every_rule

SHAPES = ((4, 2, 8, 9), (4, 3, 8, 9), (4, 2, 4, 5, 6), (4, 5, 4, 5, 6))

every_rule = pytest.mark.parametrize("name", RULES)


@every_rule
def test_a_rule_can_be_built_by_name_and_says_what_it_removes(name):
    rule = create_rule(name)
    assert isinstance(rule, Rule)
    assert rule.name == name
    assert rule.removes
    assert "\n" not in rule.removes
    assert all(column.startswith(name) for column in rule.columns)
    options = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)}
    assert create_rule(name, **json.loads(json.dumps(options))) == rule


@every_rule
@pytest.mark.parametrize("shape", SHAPES)
def test_each_case_is_measured_by_itself(name, shape):
    rule, answers = create_rule(name), for_every_rule(shape)
    whole = rule.measure(answers)
    assert whole.dtype == torch.float32
    assert whole.shape == (shape[0], len(rule.columns))
    assert bool(whole.isfinite().all())
    for case in range(shape[0]):
        alone = Answers(answers.probabilities[case : case + 1], answers.members[:, case : case + 1])
        torch.testing.assert_close(rule.measure(alone)[0], whole[case], rtol=1e-6, atol=1e-6)


@every_rule
@pytest.mark.parametrize("shape", SHAPES)
def test_a_mirrored_mask_measures_the_same(name, shape):
    rule, answers = create_rule(name), for_every_rule(shape)
    mirrored = Answers(answers.probabilities.flip(-1), answers.members.flip(-1))
    torch.testing.assert_close(rule.measure(mirrored), rule.measure(answers), rtol=1e-5, atol=1e-5)


@every_rule
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_probabilities_of_another_precision_are_measured_in_float32(name, dtype):
    answers = for_every_rule((2, 3, 6, 7))
    other = Answers(answers.probabilities.to(dtype), answers.members.to(dtype))
    measured = create_rule(name).measure(other)
    assert measured.dtype == torch.float32
    assert bool(measured.isfinite().all())


@every_rule
@pytest.mark.parametrize("saturated", [0.0, 1.0])
def test_saturated_masks_measure_finite_numbers(name, saturated):
    mask = torch.full((2, 6, 7), saturated)
    p = torch.stack([1 - mask, mask], dim=1)
    assert bool(create_rule(name).measure(Answers(p, torch.stack([p, 1 - p]))).isfinite().all())


@every_rule
def test_no_cases_are_kept_of_none(name):
    rule = create_rule(name)
    assert rule.keeps(torch.zeros(0, len(rule.columns))).shape == (0,)
    assert rule.keeps(torch.zeros(0, len(rule.columns))).dtype == torch.bool


@every_rule
def test_the_order_of_cases_does_not_matter(name):
    rule = create_rule(name)
    measured = rule.measure(for_every_rule((12, 3, 9, 9)))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    assert torch.equal(rule.keeps(measured[order]), rule.keeps(measured)[order])


@every_rule
def test_what_a_rule_says_to_relax_names_its_option(name):
    rule = create_rule(name)
    measured = rule.measure(for_every_rule((3, 3, 9, 9)))
    [option] = [field.name for field in dataclasses.fields(rule)]
    assert option in rule.relax(measured)
    assert "\n" not in rule.relax(measured)


@pytest.mark.parametrize("name", ["target_pixels", "grey_level_entropy"])
def test_rules_of_maps_refuse_answers_for_whole_images(name):
    with pytest.raises(ConfigError, match=f"rule {name} looks at pixels.*leave it out of exclude"):
        create_rule(name).measure(Answers(torch.tensor([[0.5, 0.5]])))


@pytest.mark.parametrize("name", ["pixel_entropy", "disagreement", "class_balance", "dynamic_threshold"])
def test_the_other_rules_take_answers_for_whole_images(name):
    p = torch.tensor([[0.2, 0.8], [0.9, 0.1]])
    rule = create_rule(name)
    assert rule.measure(Answers(p, torch.stack([p, p]))).shape == (2, len(rule.columns))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{"name": "grey_level"}], "unknown rule 'grey_level'; did you mean 'grey_level_entropy'?"),
        ([{"name": "target_pixels", "beta": 1}], "unknown option of rule target_pixels 'beta'"),
        ([{"alpha": 256}], "exclude: each rule is a mapping with its name"),
        (["target_pixels"], "exclude: each rule is a mapping with its name"),
        ({"name": "target_pixels"}, "exclude must be a list of rules"),
        (None, "exclude must be a list of rules"),
        (
            [TargetPixels(), {"name": "target_pixels"}],
            "exclude: rule target_pixels occurs twice; give it once",
        ),
        ([{"name": "target_pixels", "alpha": -1}], "alpha must be a number of pixels in 0..65536, got -1"),
        ([{"name": "target_pixels", "alpha": "many"}], "alpha must be a number of pixels"),
        ([{"name": "grey_level_entropy", "beta": 0}], "beta must be a number above 0, got 0"),
        ([{"name": "pixel_entropy", "at_most": True}], "at_most must be a number above 0, got True"),
        ([{"name": "disagreement", "at_most": -0.1}], "at_most must be a number above 0, got -0.1"),
        ([{"name": "class_balance", "max_ratio": 0.5}], "max_ratio must be a number of 1 or more, got 0.5"),
        ([{"name": "dynamic_threshold", "tau": 1.5}], "tau must lie in 0..1, got 1.5"),
    ],
)
def test_impossible_entries_are_refused_in_one_line(entries, said):
    with pytest.raises(ConfigError) as error:
        create_rules(entries)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
