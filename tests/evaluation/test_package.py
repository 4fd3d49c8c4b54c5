import subprocess
import sys

import pytest

import meddistill.evaluation as evaluation


@pytest.mark.parametrize("name", evaluation.__all__)
def test_every_name_can_be_imported(name):
    found = getattr(evaluation, name)
    assert name.endswith("METRICS") or (found.__name__, found.__module__) == (
        name,
        f"meddistill.evaluation.{evaluation._HOMES[name]}",
    )


def test_the_lazy_names_are_the_listed_ones():
    assert sorted(evaluation._HOMES) == sorted(evaluation.__all__)
    assert dir(evaluation) == sorted(evaluation.__all__)
    with pytest.raises(AttributeError, match="no attribute 'dice'"):
        _ = evaluation.dice


def test_comparing_runs_needs_neither_torch_nor_monai():
    code = (
        "import sys; from meddistill.evaluation import compare_runs, ScoreTable; "
        "print([name for name in ('torch', 'monai', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
