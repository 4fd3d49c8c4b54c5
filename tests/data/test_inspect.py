from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from meddistill.data.case import IGNORE_INDEX, Case, Split
from meddistill.data.inspect import Finding, Inspection, Table, inspect_source, render
from meddistill.data.phantom import PhantomSource, phantom_case, write_phantom
from meddistill.data.sources.folder import FolderSource
from meddistill.data.splits import split_cases
from meddistill.errors import DataError


@dataclass
class Shelf:
    """A source in memory: images and labels by case id; an exception in place of an array is raised."""

    images: dict[str, np.ndarray | Exception]
    labels: dict[str, np.ndarray | Exception]
    cases: tuple[Case, ...]
    class_names: tuple[str, ...] = ("background", "lesion")
    in_channels: int = 1
    dims: int = 2
    reads: list[str] = field(default_factory=list)

    def read_image(self, case):
        self.reads.append(case.id)
        return self._given(self.images[case.id])

    def read_label(self, case):
        return self._given(self.labels[case.id])

    def _given(self, value):
        if isinstance(value, Exception):
            raise value
        return value

    def change(self, name: str, **case: str) -> None:
        self.cases = tuple(replace(c, **case) if c.id == name else c for c in self.cases)

    def copy_image(self, origin: str, target: str) -> None:
        self.images[target] = self.images[origin].copy()


@pytest.fixture
def shelf() -> Shelf:
    names = [f"a/{n}" for n in range(4)] + [f"b/{n}" for n in range(4)]
    pairs = {name: phantom_case(seed, size=(48, 56), lesions=1) for seed, name in enumerate(names)}
    return Shelf(
        images={name: image for name, (image, _) in pairs.items()},
        labels={name: label for name, (_, label) in pairs.items()},
        cases=tuple(Case(id=name, group=name, stratum=name[0]) for name in names),
    )


def halves(source) -> Split:
    """Even cases train, odd ones test."""
    return Split({"train": source.cases[::2], "test": source.cases[1::2]})


def table(inspection: Inspection, title: str) -> Table:
    (found,) = [table for table in inspection.tables if table.title.startswith(title)]
    return found


def kinds(inspection: Inspection) -> dict[str, str]:
    return {finding.kind: finding.level for finding in inspection.findings}


def only(inspection: Inspection, kind: str) -> Finding:
    (finding,) = inspection.of_kind(kind)
    return finding


def test_clean_data_has_no_findings(shelf):
    inspection = inspect_source(shelf, halves(shelf))
    assert inspection.findings == ()
    assert not inspection.has_errors
    assert inspection.num_cases == 8
    assert sorted(shelf.reads) == sorted(case.id for case in shelf.cases), "each image is read once"


def test_counts_by_stratum_and_split(shelf):
    split = Split({"train": shelf.cases[:5], "test": shelf.cases[5:7]})
    inspection = inspect_source(shelf, split)
    cases = table(inspection, "Cases")
    assert cases.columns == ("stratum", "train", "test", "total")
    assert cases.rows == (("a", 4, 0, 4), ("b", 1, 2, 4), ("all", 5, 2, 8))
    assert only(inspection, "in-no-split").items == ("b/3",)


def test_split_of_the_source_is_taken_when_none_is_given(shelf):
    for case in shelf.cases:
        shelf.change(case.id, split="train" if case.stratum == "a" else "test")
    assert table(inspect_source(shelf), "Cases").columns == ("stratum", "train", "test", "total")


def test_without_any_split_a_note_says_so(shelf):
    inspection = inspect_source(shelf)
    assert kinds(inspection) == {"no-split": "note"}
    assert table(inspection, "Cases").columns == ("stratum", "total")


def test_sizes_and_labels(shelf):
    image, label = phantom_case(99, size=(64, 40), lesions=1)
    label[0, :7] = IGNORE_INDEX
    shelf.images["a/0"], shelf.labels["a/0"] = image, label
    inspection = inspect_source(shelf, halves(shelf))
    sizes = table(inspection, "Image sizes")
    assert sizes.title == "Image sizes (2 distinct; 48 x 56 in 7 of 8)"
    assert sizes.rows == (("height", 48, 48, 64), ("width", 40, 56, 56))
    values = table(inspection, "Label values")
    lesion = sum(int((label == 1).sum()) for label in shelf.labels.values())
    known = 7 * 48 * 56 + 64 * 40 - 7
    assert values.rows == (
        (IGNORE_INDEX, "(ignored)", 1, 7, ""),
        (0, "background", 8, known - lesion, f"{1 - lesion / known:.2%}"),
        (1, "lesion", 8, lesion, f"{lesion / known:.2%}"),
    )
    assert inspection.findings == ()


def test_volumes(shelf):
    source = PhantomSource(3, size=(32, 36, 40))
    inspection = inspect_source(source)
    assert [row[0] for row in table(inspection, "Image sizes").rows] == ["axis 0", "axis 1", "axis 2"]
    assert not inspection.has_errors


def test_unreadable_cases_are_collected_and_the_others_still_counted(shelf):
    shelf.images["a/1"] = DataError("a/1.png: the file is empty (0 bytes)")
    shelf.labels["a/1"] = DataError("a/1.png: the file is empty (0 bytes)")
    shelf.labels["b/2"] = OSError("odd\nbytes")
    shelf.images["b/3"] = np.zeros((1, 0, 5), np.uint8)
    inspection = inspect_source(shelf, halves(shelf))
    finding = only(inspection, "unreadable")
    assert finding.level == "error"
    assert finding.items == (
        "a/1.png: the file is empty (0 bytes)",
        "b/2: OSError: odd bytes",
        "b/3: has no pixels",
    )
    assert "6 of 6" in table(inspection, "Image sizes").title


@pytest.mark.parametrize(
    ("kind", "image", "label", "words"),
    [
        ("size-mismatch", None, np.zeros((48, 55), np.int16), "a/2: image 48 x 56, label 48 x 55"),
        ("label-value", None, np.full((48, 56), 255, np.int16), "a/2: 255"),
        ("image-shape", np.zeros((3, 48, 56), np.uint8), None, "a/2: image of 3 x 48 x 56"),
        ("image-shape", np.zeros((48, 56), np.uint8), None, "a/2: image of 48 x 56"),
        ("value-range", np.full((1, 48, 56), 1.5, np.float32), None, "a/2"),
        ("value-range", np.full((1, 48, 56), np.nan, np.float32), None, "a/2"),
    ],
)
def test_image_and_label_misfits_are_errors(shelf, kind, image, label, words):
    shelf.images["a/2"] = shelf.images["a/2"] if image is None else image
    shelf.labels["a/2"] = shelf.labels["a/2"] if label is None else label
    inspection = inspect_source(shelf, halves(shelf))
    assert inspection.has_errors
    finding = only(inspection, kind)
    assert (finding.level, finding.items) == ("error", (words,))


def test_constant_image_absent_class_and_unlabelled_case(shelf):
    shelf.class_names = ("background", "lesion", "cyst")
    shelf.images["a/0"][:] = 17
    shelf.labels["a/3"][:] = IGNORE_INDEX
    inspection = inspect_source(shelf, halves(shelf))
    assert kinds(inspection) == {"constant-image": "warning", "absent-class": "warning", "unlabelled": "note"}
    assert only(inspection, "absent-class").items == ("cyst",)
    assert only(inspection, "unlabelled").items == ("a/3",)


def test_empty_labels_are_counted_by_stratum(shelf):
    for name in ("b/0", "b/1", "b/3"):
        shelf.labels[name][:] = 0
    shelf.labels["b/3"][0] = IGNORE_INDEX
    assert only(inspect_source(shelf, halves(shelf)), "empty-label").items == ("b: 3 of 4",)


def test_ids_used_twice_and_cases_in_two_splits(shelf):
    shelf.cases = (*shelf.cases, shelf.cases[0])
    split = Split({"train": shelf.cases[:4], "test": shelf.cases[3:8]})
    inspection = inspect_source(shelf, split)
    assert only(inspection, "same-id").items == ("a/0",)
    assert only(inspection, "case-in-two-splits").items == ("a/3: train, test",)


def test_groups_that_leak(shelf):
    for name in ("a/0", "a/2", "b/1"):
        shelf.change(name, group="patient 7")
    inspection = inspect_source(shelf, halves(shelf))
    finding = only(inspection, "group-leak")
    assert (finding.level, finding.items) == ("error", ("patient 7: 2 in train, 1 in test",))


def test_group_within_one_split_does_not_leak(shelf):
    for name in ("a/0", "a/2", "b/0"):
        shelf.change(name, group="patient 7")
    assert inspect_source(shelf, halves(shelf)).findings == ()


def test_equal_images_with_the_same_label_in_one_split_are_a_warning(shelf):
    shelf.copy_image("a/0", "a/2")
    shelf.labels["a/2"] = shelf.labels["a/0"]
    finding = only(inspect_source(shelf, halves(shelf)), "duplicate")
    assert (finding.level, finding.items) == ("warning", ("a/0 (train) = a/2 (train)",))


def test_equal_images_across_splits_are_an_error(shelf):
    shelf.copy_image("a/0", "a/3")
    shelf.labels["a/3"] = shelf.labels["a/0"]
    inspection = inspect_source(shelf, halves(shelf))
    assert kinds(inspection) == {"duplicate-across-splits": "error"}
    assert only(inspection, "duplicate-across-splits").items == ("a/0 (train) = a/3 (test)",)


@pytest.mark.parametrize("other", ["label", "stratum"])
def test_equal_images_that_disagree_are_an_error(shelf, other):
    target = "a/2" if other == "label" else "b/0"
    shelf.copy_image("a/0", target)
    if other == "stratum":
        shelf.labels[target] = shelf.labels["a/0"]
    inspection = inspect_source(shelf, halves(shelf))
    assert kinds(inspection) == {"conflicting-duplicate": "error"}
    assert table(inspection, "Duplicates").rows == (
        ("equal pixels", 1, 0, 1, int(other == "stratum"), int(other == "label")),
    )


def test_unlabelled_copy_does_not_conflict(shelf):
    shelf.copy_image("a/0", "a/2")
    shelf.labels["a/2"] = np.full_like(shelf.labels["a/0"], IGNORE_INDEX)
    assert set(kinds(inspect_source(shelf, halves(shelf)))) == {"duplicate", "unlabelled"}


def nearly(image: np.ndarray) -> np.ndarray:
    return np.roll((image * 0.8 + 20).astype(np.uint8), 1, axis=2)


def test_near_duplicates_across_splits_and_strata_are_warnings(shelf):
    shelf.images["a/1"] = nearly(shelf.images["a/0"])
    shelf.images["b/2"] = nearly(shelf.images["b/0"])
    shelf.images["b/3"] = nearly(shelf.images["a/3"])
    inspection = inspect_source(shelf, halves(shelf))
    assert kinds(inspection) == {
        "near-duplicate-across-splits": "warning",
        "near-duplicate-conflict": "warning",
        "near-duplicate": "note",
    }
    across = only(inspection, "near-duplicate-across-splits")
    assert "1 of 4 cases of test" in across.message
    assert across.items[0].startswith("a/0 (train) ~ a/1 (test): 0.")
    assert only(inspection, "near-duplicate-conflict").items[0].startswith("a/3 (test) ~ b/3 (test)")
    assert not inspection.has_errors


def series(prefixes: int, frames: int) -> Shelf:
    names = [f"x/P{p:02d}_{f:03d}" for p in range(prefixes) for f in range(frames)]
    seeds = range(len(names))
    return Shelf(
        images={n: phantom_case(s, size=(32, 32), lesions=1)[0] for n, s in zip(names, seeds, strict=True)},
        labels={n: phantom_case(s, size=(32, 32), lesions=1)[1] for n, s in zip(names, seeds, strict=True)},
        cases=tuple(Case(id=name, group=name) for name in names),
    )


def test_names_that_look_like_patients_are_pointed_out():
    source = series(6, 2)
    together = Split({"train": source.cases[:6], "test": source.cases[6:]})
    assert kinds(inspect_source(source, together)) == {"groups-by-name": "note"}
    apart = inspect_source(source, halves(source))
    assert kinds(apart) == {"groups-by-name": "warning"}
    assert only(apart, "groups-by-name").items[0] == "P00: 1 in train, 1 in test"


def test_numbered_names_of_one_series_or_given_groups_are_left_alone():
    one = series(1, 12)
    assert inspect_source(one, halves(one)).findings == ()
    grouped = series(6, 2)
    grouped.cases = tuple(replace(case, group=case.id[:5]) for case in grouped.cases)
    together = Split({"train": grouped.cases[:6], "test": grouped.cases[6:]})
    assert inspect_source(grouped, together).findings == ()


def test_findings_come_worst_first(shelf):
    shelf.images["a/0"][:] = 3
    shelf.labels["b/0"][:] = 0
    shelf.labels["b/1"] = DataError("gone")
    levels = [finding.level for finding in inspect_source(shelf, halves(shelf)).findings]
    assert levels == ["error", "warning", "note"]


def test_render_is_plain_text_that_shows_the_first_items():
    inspection = Inspection(
        12,
        (Table("Cases", ("stratum", "train", "share"), (("a", 10, 0.5), ("benign", 2, 12.25))),),
        (Finding("error", "unreadable", "7 cases cannot be read", tuple(f"case {n}" for n in range(7))),),
    )
    assert render(inspection).splitlines() == [
        "Cases",
        "  stratum  train  share",
        "  a           10    0.5",
        "  benign       2  12.25",
        "",
        "ERROR [unreadable] 7 cases cannot be read",
        "  case 0",
        "  case 1",
        "  case 2",
        "  case 3",
        "  case 4",
        "  and 2 more",
        "",
        "12 cases: 1 error, 0 warnings, 0 notes",
    ]


def test_json_round_trip(shelf):
    shelf.copy_image("a/0", "b/0")
    inspection = inspect_source(shelf, halves(shelf))
    value = json.loads(json.dumps(inspection.to_json(), allow_nan=False))
    assert value["has_errors"] is True
    assert value["num_cases"] == 8
    assert value["findings"][0]["kind"] == "conflicting-duplicate"
    assert value["findings"][0]["items"] == ["a/0 (train) = b/0 (train)"]
    assert value["tables"][0]["rows"][-1] == ["all", 4, 4, 8]


def test_nothing_is_drawn_when_stderr_is_no_terminal(shelf, capsys):
    inspect_source(shelf)
    assert capsys.readouterr() == ("", "")


def test_progress_goes_to_stderr_on_a_terminal(shelf, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    inspect_source(shelf)
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading cases" in err


def test_broken_files_of_a_folder(tmp_path):
    folder = write_phantom(tmp_path / "phantom", PhantomSource(6, size=(48, 48), normal_fraction=0))
    images = sorted(path for path in folder.rglob("*.png") if "_mask" not in path.name)
    images[0].write_bytes(b"")
    images[1].write_bytes(images[1].read_bytes()[:600])
    inspection = inspect_source(FolderSource(folder))
    finding = only(inspection, "unreadable")
    assert len(finding.items) == 2
    assert str(images[0]) in finding.items[0]
    assert str(images[1]) in finding.items[1]
    assert inspection.has_errors


def test_written_phantom_reads_like_the_generated_one(tmp_path):
    phantom = PhantomSource(8, size=(48, 48), normal_fraction=0.3)
    written = FolderSource(write_phantom(tmp_path / "phantom", phantom))
    generated, read = (inspect_source(source).to_json() for source in (phantom, written))
    assert generated == read


@pytest.fixture
def real_data() -> Path:
    root = Path(os.environ.get("MEDDISTILL_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
    if not (root / "busi").is_dir():
        pytest.skip(f"no real data at {root}; set MEDDISTILL_DATA")
    return root


@pytest.mark.realdata
def test_busi_with_its_official_split_shows_its_traps(real_data):
    source = FolderSource(real_data / "busi")
    lists = real_data / "busi" / "splits"
    split = split_cases(source, files={"train": lists / "pcd_train.json", "test": lists / "pcd_val.json"})
    inspection = inspect_source(source, split)
    assert inspection.has_errors
    (conflict,) = only(inspection, "conflicting-duplicate").items
    assert "benign/benign (433)" in conflict
    assert "malignant/malignant (145)" in conflict
    assert only(inspection, "empty-label").items == ("normal: 133 of 133",)
    across = only(inspection, "near-duplicate-across-splits")
    assert len(across.items) >= 50
    assert any("benign (13) (test) ~ benign/benign (330) (train)" in item for item in across.items)
    assert table(inspection, "Cases").rows == (
        ("benign", 382, 55, 437),
        ("malignant", 184, 26, 210),
        ("normal", 114, 19, 133),
        ("all", 680, 100, 780),
    )


@pytest.mark.realdata
def test_frames_of_one_patient_are_flagged_across_splits_only_when_divided(real_data):
    source = FolderSource(real_data / "bus_uclm", group_pattern="^(....)")
    grouped = inspect_source(source, split_cases(source, fractions={"train": 0.8, "test": 0.2}))
    assert grouped.of_kind("near-duplicate-across-splits") == ()
    assert grouped.of_kind("group-leak") == ()
    plain = FolderSource(real_data / "bus_uclm")
    divided = inspect_source(plain, split_cases(plain, fractions={"train": 0.8, "test": 0.2}))
    assert len(only(divided, "near-duplicate-across-splits").items) >= 5
    assert only(divided, "groups-by-name").level == "warning"
