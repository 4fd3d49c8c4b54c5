import subprocess
import sys

import pytest

import meddistill.data


def test_every_public_name_can_be_had():
    for name in meddistill.data.__all__:
        assert getattr(meddistill.data, name) is not None


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'Sauce'"):
        _ = meddistill.data.Sauce


def test_sources_and_splits_need_neither_torch_nor_monai():
    code = (
        "import sys; from meddistill.data import FolderSource, ManifestSource, PaletteSource, split_cases;"
        "print([name for name in ('torch', 'monai', 'rich') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
