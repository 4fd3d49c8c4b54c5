"""Rules in a row: who stays, who removed whom, and what is said when nobody stays."""

import csv
import io
import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.errors import DataError
from meddistill.exclusion import (
    RULES,
    Answers,
    ClassBalance,
    GreyLevelEntropy,
    TargetPixels,
    create_rule,
    exclude,
)
from meddistill.exclusion.base import AtMost, not_above, not_below
from meddistill.files import write_json
from tests.exclusion.answers import for_every_rule, noise, square

PAPER = [TargetPixels(), GreyLevelEntropy()]
MASKS = {"good": square(64, 30), "noisy": noise(64), "empty": square(64, 0), "small": square(64, 3)}


def of_masks(rules=PAPER, masks=MASKS):
    measured = [torch.cat([rule.measure(Answers(p)) for p in masks.values()]) for rule in rules]
    return exclude(rules, list(masks), measured)


def test_good_masks_stay_noise_and_empty_ones_go():
    found = of_masks()
    assert found.kept == ("good",)
    assert found.removed == {
        "noisy": "grey_level_entropy",
        "empty": "target_pixels",
        "small": "target_pixels",
    }
    assert [(count.removed, count.alone) for count in found.counts] == [(2, 2), (1, 1)]


def test_the_first_rule_that_removes_a_case_is_named():
    measured = [torch.tensor([[0.0], [0.0], [999.0]]), torch.tensor([[9.0], [1.0], [9.0]])]
    found = exclude(PAPER, ["a", "b", "c"], measured)
    assert found.removed == {"a": "target_pixels", "b": "target_pixels", "c": "grey_level_entropy"}
    assert [(count.removed, count.alone) for count in found.counts] == [(2, 2), (1, 2)]
    turned = exclude(PAPER[::-1], ["a", "b", "c"], measured[::-1])
    assert turned.removed == {"a": "grey_level_entropy", "b": "target_pixels", "c": "grey_level_entropy"}


def test_a_rule_sees_only_what_those_before_it_kept():
    """Alone, class 2 has two cases and class 1 may keep two; without the small target it may keep one."""
    rules = [TargetPixels(), ClassBalance(max_ratio=1)]
    pixels = torch.tensor([[999.0], [999.0], [999.0], [9.0]])
    classes = torch.tensor([[1, 0.9], [1, 0.8], [2, 0.9], [2, 0.9]])
    found = exclude(rules, ["a", "b", "c", "d"], [pixels, classes])
    assert found.kept == ("a", "c")
    assert [(count.removed, count.alone) for count in found.counts] == [(1, 1), (1, 0)]


@given(seed=st.integers(0, 500), cases=st.integers(0, 9), order=st.permutations(list(RULES)))
@settings(max_examples=40)
def test_every_count_adds_up(seed, cases, order):
    rules = [create_rule(name) for name in order[: seed % 7]]
    answers = for_every_rule((cases, 3, 9, 9), seed=seed)
    ids = [f"case {i}" for i in range(cases)]
    found = exclude(rules, ids, [rule.measure(answers) for rule in rules])
    assert found.total == cases == len(found.kept) + sum(count.removed for count in found.counts)
    assert set(found.kept) | set(found.removed) == set(ids)
    assert list(found.kept) == [case for case in ids if case in set(found.kept)]
    for count in found.counts:
        assert 0 <= count.alone <= cases
        assert count.removed == sum(name == count.rule.name for name in found.removed.values())
    assert not rules or found.counts[0].removed == found.counts[0].alone
    assert found.to_csv().count("\n") == cases + 1


def test_without_rules_all_stay():
    found = exclude([], ["a", "b"], [])
    assert (found.kept, found.removed, found.summary()) == (("a", "b"), {}, "2 of 2 cases are kept")
    assert found.to_csv() == "case,kept,removed_by\na,yes,\nb,yes,\n"
    found.check_any_left()


def test_the_table_holds_what_was_measured():
    found = of_masks([*PAPER, ClassBalance()])
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [row["case"] for row in rows] == list(MASKS)
    assert [row["kept"] for row in rows] == ["yes", "no", "no", "no"]
    assert rows[0]["target_pixels"] == "14400"
    assert rows[0]["removed_by"] == ""
    assert rows[2]["removed_by"] == "target_pixels"
    assert (rows[3]["class_balance_class"], rows[3]["class_balance_confidence"]) == ("1", "1")
    assert float(rows[1]["grey_level_entropy"]) > 7


def test_the_plain_values_say_all(tmp_path):
    write_json(tmp_path / "exclusion.json", of_masks().to_json())
    read = json.loads((tmp_path / "exclusion.json").read_text())
    assert (read["total"], read["kept"], read["kept_cases"]) == (4, 1, ["good"])
    assert read["removed_cases"]["noisy"] == "grey_level_entropy"
    assert read["rules"][0] == {
        "name": "target_pixels",
        "options": {"alpha": 256.0},
        "removes": "fewer than 256 target pixels at 256 x 256",
        "removed": 2,
        "alone": 2,
    }


def test_the_summary_has_a_line_for_each_rule():
    assert of_masks().summary().splitlines() == [
        "1 of 4 cases are kept",
        "  target_pixels removed 2 (alone 2): fewer than 256 target pixels at 256 x 256",
        "  grey_level_entropy removed 1 (alone 1): grey-level entropy above 2.5 bits",
    ]


def test_when_nobody_is_left_the_message_says_what_to_relax():
    found = of_masks(masks={"a": noise(seed=1), "b": noise(seed=2), "empty": square(64, 0)})
    with pytest.raises(DataError) as error:
        found.check_any_left()
    said = str(error.value)
    assert said.startswith(
        "no case of the transferal set is left: rule grey_level_entropy removed 2 of 3 "
        "(grey-level entropy above 2.5 bits); the least grey-level entropy is 7.9"
    )
    limit = float(said.split("raise beta to ")[1].split(" or more")[0])
    assert of_masks([TargetPixels(), GreyLevelEntropy(limit)], {"a": noise(seed=1), "b": noise(seed=2)}).kept
    assert "\n" not in said


def test_when_all_masks_are_empty_the_teachers_are_to_be_checked():
    with pytest.raises(DataError, match="every mask is empty: check what the teachers say"):
        of_masks(masks={"a": square(64, 0)}).check_any_left()
    with pytest.raises(DataError, match="the transferal set is empty"):
        exclude([], [], []).check_any_left()


def test_what_does_not_fit_is_refused():
    one = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="occurs twice"):
        exclude([], ["a", "a"], [])
    with pytest.raises(ValueError, match="occurs twice"):
        exclude([TargetPixels(), TargetPixels(alpha=1)], ["a"], [one, one])
    for rules, measured in ((PAPER, [one]), (PAPER, [one, torch.zeros(2, 1)]), ([ClassBalance()], [one])):
        with pytest.raises(ValueError, match="do not fit 1 cases"):
            exclude(rules, ["a"], measured)


def test_a_rule_of_ones_own_takes_part():
    @dataclass(frozen=True)
    class Surest(AtMost):
        name: ClassVar[str] = "surest"
        option: ClassVar[str] = "most"
        quantity: ClassVar[str] = "doubt"
        most: float = 0.1

        def measure(self, answers: Answers) -> torch.Tensor:
            return (1 - answers.probabilities.amax(1)).flatten(1).amax(1, keepdim=True)

    found = of_masks([Surest()])
    assert found.removed == {"noisy": "surest"}


@given(value=st.floats(2**-20, 2**20, width=32))
def test_suggested_numbers_are_near_and_on_the_right_side(value):
    assert value <= not_below(value) * (1 + 1e-9) <= value * 1.011
    assert value * 0.989 <= not_above(value) * (1 - 1e-9) <= value
