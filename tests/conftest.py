from __future__ import annotations

import pytest

from meddistill.training.fit import fit
from meddistill.training.run_folder import RunFolder
from tests.recipes import tiny_recipe


@pytest.fixture(scope="session")
def teacher_run(tmp_path_factory) -> RunFolder:
    """A finished supervised run, trained once for all tests of a worker."""
    return fit(tiny_recipe(model={"options": {"width": 4}}), tmp_path_factory.mktemp("teacher") / "run")
