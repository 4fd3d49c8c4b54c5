from __future__ import annotations

import json
import math

import pytest

from meddistill.errors import RunError
from meddistill.files import replacing, write_json, write_text


def test_a_file_is_replaced_in_one_step_and_its_folders_are_made(tmp_path):
    target = tmp_path / "a" / "b" / "c.txt"
    write_text(target, "old")
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["c.txt"]


def fail_half_way(target, error):
    with replacing(target) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    write_text(tmp_path / "a.txt", "old")
    for target in (tmp_path / "a.txt", tmp_path / "new" / "folder" / "b.txt"):
        with pytest.raises(error):
            fail_half_way(target, error)
    assert [path.name for path in tmp_path.rglob("*")] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_what_the_system_refuses_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"cannot write .*file/a\.txt: File exists; free some space"):
        write_text(tmp_path / "file" / "a.txt", "text")


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1.5, math.nan, (math.inf, "y")]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1.5, None, [None, "y"]]}
