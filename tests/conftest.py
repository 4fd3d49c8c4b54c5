from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from meddistill.training.fit import fit
from meddistill.training.run_folder import RunFolder
from tests.recipes import tiny_recipe

# Property tests draw the same examples each time, so that a commit is judged by its own change;
# `make test-random` draws new ones. None fails because the machine is busy.
settings.register_profile(
    "random", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("repeatable", settings.get_profile("random"), derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def teacher_run(tmp_path_factory) -> RunFolder:
    """A finished supervised run, trained once for all tests of a worker."""
    return fit(tiny_recipe(model={"options": {"width": 4}}), tmp_path_factory.mktemp("teacher") / "run")


@pytest.fixture(scope="session")
def good_teacher_run(tmp_path_factory) -> RunFolder:
    """A finished run that has really learnt to find the lesion, on the data of `tiny_recipe`."""
    recipe = tiny_recipe(model={"options": {"width": 4}}, training={"epochs": 40, "lr": 0.01})
    return fit(recipe, tmp_path_factory.mktemp("good-teacher") / "run")
