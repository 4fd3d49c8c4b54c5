"""`--auto-tune`: find the faster settings of this machine before a run begins, and keep to them."""

from __future__ import annotations

import math
from collections.abc import Callable

from meddistill.config import Recipe
from meddistill.errors import ConfigError, RunError
from meddistill.training.run_folder import RunFolder, read_json
from meddistill.training.search import search
from meddistill.training.switches import value_of, with_values
from meddistill.training.trial import Tuning
from meddistill.training.trial_process import TrialProcess


def tune(recipe: Recipe, seconds: float, *, say: Callable[[str], None] = lambda _: None) -> Tuning:
    """Try the switches of `recipe` for about `seconds`, in a process of its own.

    Args:
        recipe: a checked recipe.
        seconds: time for the trials; starting the process and reading the images come on top.
        say: is told of each trial.

    Raises:
        ConfigError: the time is not above 0, or the recipe trains on several devices.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"auto-tune takes a number of seconds above 0, not {seconds}")
    if recipe.training.devices * recipe.training.nodes > 1:
        raise ConfigError(
            "auto-tune measures one device: tune with --training.devices 1 --training.nodes 1, and give the "
            "values that it names to the training on several"
        )
    say(f"trying settings for {seconds:.0f} s, once the images are read")
    with TrialProcess(recipe) as process:
        return search(recipe, process, seconds, say=say)


def with_stored_choice(folder: RunFolder, recipe: Recipe) -> Recipe:
    """`recipe` with what was chosen when the run in `folder` was begun; unchanged where nothing was.

    A key that no longer has the value it had before the tuning is left as it is.

    Raises:
        RunError: `tuning.json` is damaged.
    """
    if not folder.tuning.exists():
        return recipe
    stored = read_json(folder.tuning)
    try:
        unchanged = [key for key, value in stored["before"].items() if value_of(recipe, key) == value]
        return with_values(recipe, {key: stored["chosen"][key] for key in unchanged})
    except (AttributeError, KeyError, TypeError) as error:
        raise RunError(f"{folder.tuning} is damaged; train again in a new folder") from error
