"""What auto-tune tries and keeps, told by a made-up machine whose clock stands still unless it measures."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.training.clock import Spread
from meddistill.training.search import WORTH, beats_noise, in_order, search
from meddistill.training.switches import Chain, chains, value_of, with_values
from meddistill.training.trial import LEAST_ROUNDS, Baseline, Measured, TrialError
from tests.recipes import tiny_recipe

DISTILLED = tiny_recipe(method={"name": "distillation"}, teacher={"path": "teacher", "mode": "live"})
EVEN = {"data": 0.2, "teacher": 0.3, "student": 0.2, "backward": 0.2, "other": 0.1}
QUIET = [1.0, 1.01, 0.99, 1.0, 1.0]


@dataclass
class Machine:
    """A machine on which each setting makes a step so many times longer or shorter.

    Args:
        effects: factor by (key, value).
        noise: ratios of the rounds to the true one, in turn.
        failures: reason by (key, value).
        rounds: of a trial.
        start: seconds until a change has taken its first step.
    """

    effects: dict = field(default_factory=dict)
    noise: list[float] = field(default_factory=lambda: [1.0])
    failures: dict = field(default_factory=dict)
    shares: dict = field(default_factory=lambda: EVEN)
    rounds: int = 9
    start: float = 0.5
    start_of: dict = field(default_factory=dict)
    steps: int = 1000
    now: float = 0.0
    asked: list = field(default_factory=list)

    def baseline(self) -> Baseline:
        self.now += 50.0
        return Baseline(self.shares, self.steps)

    def speed(self, given) -> float:
        speed = 1.0
        for item in given.items():
            speed *= self.effects.get(item, 1.0)
        return speed

    def compare(self, without, change, *, seconds, limit):
        self.asked.append((dict(without), dict(change), seconds, limit))
        new = set(change.items()) - set(without.items())
        for item in new & set(self.failures):
            self.now += min(limit, seconds)
            raise TrialError(self.failures[item])
        start = sum(self.start_of.get(item, self.start) for item in new)
        if start > limit:
            self.now += limit
            raise TrialError(f"took longer than the {limit:.0f} s that were left")
        self.now += min(limit, start + seconds)
        ratio = self.speed(change) / self.speed(without)
        ratios = tuple(ratio * self.noise[n % len(self.noise)] for n in range(self.rounds))
        return Measured(ratios, self.speed(without), start)

    def tune(self, recipe=DISTILLED, seconds=60.0):
        self.said: list[str] = []
        return search(recipe, self, seconds, say=self.said.append, now=lambda: self.now)


def trial_of(tuning, key):
    return next(trial for trial in tuning.trials if trial.key == key)


LAYOUT = ("training.channels_last", True)


def test_what_is_faster_is_kept_and_the_rest_is_not():
    machine = Machine({LAYOUT: 0.7, ("training.compile", True): 1.2, ("teacher.compile", True): 0.9})
    tuning = machine.tune()
    assert tuning.chosen == {"training.channels_last": True, "teacher.compile": True}
    assert tuning.before == {"training.channels_last": False, "teacher.compile": False}
    assert trial_of(tuning, "training.channels_last").ratio.median == pytest.approx(0.7)
    assert "training.channels_last false -> true: 0.70 of the time, kept" in machine.said
    assert "training.compile false -> true: 1.20 of the time, not faster" in machine.said
    assert machine.said[-1].startswith("chosen: training.channels_last true, teacher.compile true; 0.63")


def test_each_change_is_measured_on_top_of_those_kept_before():
    machine = Machine({LAYOUT: 0.7})
    machine.tune()
    assert machine.asked[0][:2] == ({}, {})
    later = machine.asked[2:]
    assert later
    assert all(without == {"training.channels_last": True} for without, *_ in later)


def test_workers_are_added_as_long_as_that_helps(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    effects = {("training.workers", n): speed for n, speed in ((1, 0.8), (2, 0.7), (4, 0.69), (6, 0.1))}
    tuning = Machine(effects).tune()
    tried = [(trial.before, trial.after, trial.kept) for trial in tuning.trials if "workers" in trial.key]
    assert tried == [(0, 1, True), (1, 2, True), (2, 4, False)]
    assert tuning.before["training.workers"] == 0
    assert tuning.chosen["training.workers"] == 2


def test_fewer_workers_are_tried_where_more_do_not_help(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    tuning = Machine({("training.workers", 0): 0.5}).tune(with_values(DISTILLED, {"training.workers": 2}))
    tried = [(trial.before, trial.after, trial.kept) for trial in tuning.trials if "workers" in trial.key]
    assert tried == [(2, 4, False), (2, 1, False)]


def test_what_acts_on_little_of_a_step_is_not_tried():
    machine = Machine(shares={"teacher": 0.02, "data": 0.01, "student": 0.5, "backward": 0.47})
    tuning = machine.tune()
    assert trial_of(tuning, "teacher.compile").note == "not tried, it could save 2.0 % of a step at most"
    assert trial_of(tuning, "training.workers").ratio is None
    assert trial_of(tuning, "training.compile").ratio is not None


def test_a_part_that_has_become_large_is_tried_after_all():
    """Waiting for data takes 2 % at first, and 4 % once the rest takes half the time."""
    machine = Machine({LAYOUT: 0.5}, shares={"data": 0.02, "student": 0.98})
    assert trial_of(machine.tune(), "training.workers").ratio is not None


def test_a_failure_costs_only_itself():
    machine = Machine(
        {("teacher.compile", True): 0.5}, failures={("training.compile", True): "ended with signal 11"}
    )
    tuning = machine.tune()
    assert trial_of(tuning, "training.compile").note == "failed: ended with signal 11"
    assert tuning.chosen == {"teacher.compile": True}


def test_a_first_step_that_takes_too_long_uses_up_the_time():
    machine = Machine({LAYOUT: 0.5}, start_of={("training.compile", True): 1e9})
    tuning = machine.tune()
    assert "took longer than" in trial_of(tuning, "training.compile").note
    assert trial_of(tuning, "teacher.compile").note == "not tried, the time was used up"
    assert tuning.chosen == {"training.channels_last": True}


def test_compiling_must_pay_within_the_training():
    """0.1 s saved in each of 1000 steps is worth 99 s, not 101 s."""
    for start, kept in ((99.0, True), (101.0, False)):
        machine = Machine({("training.compile", True): 0.9}, start_of={("training.compile", True): start})
        trial = trial_of(machine.tune(seconds=1000.0), "training.compile")
        assert trial.kept is kept
        assert trial.note == (
            "kept" if kept else "its start of 101 s costs more than this training would save"
        )


def test_a_gain_within_the_noise_is_not_kept():
    machine = Machine({LAYOUT: 0.95}, noise=[0.8, 1.0, 1.2])
    trial = trial_of(machine.tune(), "training.channels_last")
    assert trial.ratio.median == pytest.approx(0.95)
    assert trial.note == "no more than noise (0.80 to 1.20)"
    assert trial_of(Machine({LAYOUT: 0.95}, noise=QUIET).tune(), "training.channels_last").kept


def test_few_rounds_prove_nothing():
    trial = trial_of(Machine({LAYOUT: 0.5}, rounds=LEAST_ROUNDS - 1).tune(), "training.channels_last")
    assert (trial.kept, trial.note) == (False, "only 4 rounds, too few to tell")


def test_where_nothing_can_be_measured_nothing_is_chosen():
    class Broken(Machine):
        def baseline(self):
            raise TrialError("the data are gone")

    machine = Broken()
    tuning = machine.tune()
    assert (tuning.chosen, tuning.trials, tuning.note) == ({}, (), "the data are gone")
    assert machine.said == ["nothing was tried: the data are gone"]


factors = st.floats(0.2, 3.0)
machines = st.builds(
    Machine,
    effects=st.fixed_dictionaries(
        {(chain.key, value): factors for chain in chains(DISTILLED, cores=8) for value in chain.values}
    ),
    noise=st.lists(st.floats(0.7, 1.4), min_size=1, max_size=9),
    failures=st.dictionaries(
        st.sampled_from([(chain.key, value) for chain in chains(DISTILLED) for value in chain.values]),
        st.just("broken"),
        max_size=2,
    ),
    shares=st.fixed_dictionaries({part: st.floats(0.0, 0.5) for part in EVEN}),
    rounds=st.integers(1, 15),
    start=st.floats(0.0, 100.0),
    steps=st.integers(1, 10_000),
)


@settings(max_examples=200)
@given(machines, st.floats(1.0, 500.0))
def test_nothing_slower_is_kept_and_the_time_is_not_exceeded(machine, seconds):
    tuning = machine.tune(seconds=seconds)
    ready = 50.0
    assert machine.now <= ready + seconds + 1e-6
    noise = Spread.of([machine.noise[n % len(machine.noise)] for n in range(machine.rounds)])
    kept: dict = {}
    for trial in tuning.trials:
        if trial.kept:
            # Told by the ratios that the machine gave, not by the module under test.
            ratio = machine.effects[trial.key, trial.after] / machine.effects.get(
                (trial.key, trial.before), 1.0
            )
            given = [ratio * machine.noise[n % len(machine.noise)] for n in range(machine.rounds)]
            assert statistics.median(given) < WORTH
            assert statistics.median(given) < min(1.0, noise.quarter + 1e-9)
            assert machine.rounds >= LEAST_ROUNDS
            kept[trial.key] = trial.after
    assert tuning.chosen == kept
    assert tuning.before == {key: value_of(DISTILLED, key) for key in kept}


@given(machines)
def test_every_switch_is_answered_for(machine):
    """Tried or not, the record says of every key what became of it."""
    tuning = machine.tune()
    assert {trial.key for trial in tuning.trials} == {chain.key for chain in chains(DISTILLED)}
    assert all(trial.note for trial in tuning.trials)
    assert len(machine.said) == len(tuning.trials) + 1


def test_noise_counts_on_both_sides():
    assert beats_noise(Spread(0.9, 0.8, 1.0), Spread(1.0, 0.97, 1.05))
    assert not beats_noise(Spread(0.9, 0.8, 1.0), Spread(1.0, 0.97, 1.2))
    assert not beats_noise(Spread(0.9, 0.8, 1.0), Spread(1.0, 0.85, 1.05))


# What may be tried


def keys(recipe, **options) -> list[str]:
    return [chain.key for chain in chains(recipe, **options)]


def test_a_precision_that_was_given_is_left_alone():
    given = tiny_recipe(training={"precision": "32"}, teacher={"precision": "bf16"})
    assert not any("precision" in key for key in keys(given))
    [precision] = [chain for chain in chains(tiny_recipe()) if chain.key == "training.precision"]
    assert precision.values in (("32",), ("bf16",))


def test_without_a_teacher_nothing_of_it_is_tried():
    assert not any(key.startswith("teacher") for key in keys(tiny_recipe()))
    assert {"teacher.precision", "teacher.compile"} <= set(keys(DISTILLED))


def test_what_is_compiled_stays_compiled_and_the_layout_may_go_back():
    recipe = with_values(DISTILLED, {"training.compile": True, "training.channels_last": True})
    assert "training.compile" not in keys(recipe)
    assert Chain("training.channels_last", (False,), ("student", "backward", "teacher")) in chains(recipe)


@pytest.mark.parametrize(
    ("now", "cores", "up", "down"),
    [
        (0, 1, (1,), None),
        (0, 6, (1, 2, 4, 6), None),
        (3, 4, (4,), (2, 1, 0)),
        (9, 4, None, (4, 2, 1, 0)),
    ],
)
def test_workers_go_up_to_the_cores(now, cores, up, down):
    recipe = with_values(DISTILLED, {"training.workers": now})
    found = [chain.values for chain in chains(recipe, cores=cores) if chain.key == "training.workers"]
    assert found == [values for values in (up, down) if values is not None]


def test_quick_starters_come_first_and_among_them_the_most_promising():
    ordered = in_order(chains(DISTILLED, cores=2), {"data": 0.6, "teacher": 0.3, "student": 0.1})
    assert [chain.key for chain in ordered] == [
        "training.workers",
        "training.channels_last",
        "teacher.precision",
        "training.precision",
        "teacher.compile",
        "training.compile",
    ]
