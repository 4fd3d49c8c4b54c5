import pytest

from meddistill.data import IGNORE_INDEX, Source, split_cases
from meddistill.data.sources.table import TableSource
from meddistill.data.task import task_of
from meddistill.errors import ConfigError, DataError
from tests.data.answers import label_table
from tests.data.builders import manifest, write_image

NIH = {"image": "Image Index", "label": "Finding Labels", "separator": "|", "group": "Patient ID"}


def table(root, rows, *, images=("a.png", "b.png", "c.png")):
    for name in images:
        write_image(root / name)
    return manifest(root / "list.csv", rows)


def test_one_column_of_classes(tmp_path):
    rows = [
        {"image": f"{name}.png", "kind": kind}
        for name, kind in zip("abc", ("sick", "well", "sick"), strict=True)
    ]
    source = TableSource(table(tmp_path, rows), label="kind")
    assert isinstance(source, Source)
    assert (task_of(source), source.class_names) == ("classification", ("sick", "well"))
    assert [int(source.read_label(case)) for case in source.cases] == [0, 1, 0]
    assert [case.stratum for case in source.cases] == ["sick", "well", "sick"]
    assert source.read_image(source.cases[0]).shape == (1, 8, 6)


def test_lists_as_nih_writes_them(tmp_path):
    source = TableSource(label_table(tmp_path), root=tmp_path / "images", **NIH)
    assert (task_of(source), source.class_names) == ("multi_label", ("bottom", "top"))
    assert [source.read_label(case).tolist() for case in source.cases[:4]] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert [case.group for case in source.cases[:4]] == ["0", "0", "1", "1"]
    assert [case.stratum for case in source.cases[:4]] == ["(none)", "top", "bottom", "bottom"]


def test_blanks_round_and_in_labels_do_not_matter(tmp_path):
    rows = [
        {"image": "a.png", "found": " Pleural  Thickening | Mass "},
        {"image": "b.png", "found": "Mass|Mass"},
        {"image": "c.png", "found": "No  Finding"},
    ]
    source = TableSource(table(tmp_path, rows), label="found", separator="|")
    assert source.class_names == ("Mass", "Pleural Thickening")
    assert [source.read_label(case).tolist() for case in source.cases] == [[1, 1], [1, 0], [0, 0]]


def test_an_empty_list_may_stand_for_no_finding(tmp_path):
    rows = [{"image": "a.png", "found": "A|B"}, {"image": "b.png", "found": ""}]
    source = TableSource(table(tmp_path, rows), label="found", separator="|", no_finding="")
    assert [source.read_label(case).tolist() for case in source.cases] == [[1, 1], [0, 0]]


def test_a_column_for_each_label(tmp_path):
    rows = [
        {"image": "a.png", "mass": "1", "fluid": "0"},
        {"image": "b.png", "mass": "1.0", "fluid": "1"},
        {"image": "c.png", "mass": "0", "fluid": "-1"},
    ]
    file = table(tmp_path, rows)
    source = TableSource(file, labels=("mass", "fluid"), unlabelled="allow")
    assert source.class_names == ("mass", "fluid")
    found = [source.read_label(case).tolist() for case in source.cases]
    assert found == [[1, 0], [1, 1], [0, IGNORE_INDEX]]
    with pytest.raises(DataError, match=r"line 4: fluid is '-1'; give 0 or 1, or unlabelled: allow"):
        TableSource(file, labels=("mass", "fluid"))


def test_columns_that_exclude_each_other_are_classes(tmp_path):
    rows = [
        {"image": "a", "mel": "0.0", "nv": "1.0", "bcc": "0.0"},
        {"image": "b", "mel": "1.0", "nv": "0.0", "bcc": "0.0"},
        {"image": "c", "mel": "0.0", "nv": "0.0", "bcc": "1.0"},
    ]
    source = TableSource(
        table(tmp_path, rows),
        labels=("mel", "nv", "bcc"),
        exclusive=True,
        ending=".png",
        class_names=("M", "N", "B"),
    )
    assert (task_of(source), source.class_names) == ("classification", ("M", "N", "B"))
    assert [int(source.read_label(case)) for case in source.cases] == [1, 0, 2]
    assert source.cases[0].image == tmp_path / "a.png"


def test_splits_of_a_column(tmp_path):
    rows = [
        {"image": f"{n}.png", "kind": k, "part": p}
        for n, k, p in zip("abc", "xyx", ("train", "val", "test"), strict=True)
    ]
    source = TableSource(table(tmp_path, rows), label="kind", split="part")
    assert {name: [case.id for case in cases] for name, cases in split_cases(source).cases.items()} == {
        "train": ["a"],
        "selection": ["b"],
        "calibration": [],
        "test": ["c"],
    }


def test_patients_of_a_pattern(tmp_path):
    rows = [
        {"image": f"{name}.png", "kind": kind}
        for name, kind in zip(("p1_0", "p1_1", "p2_0"), "xyx", strict=True)
    ]
    file = table(tmp_path, rows, images=[row["image"] for row in rows])
    assert [c.group for c in TableSource(file, label="kind", group_pattern="^([^_]+)").cases] == [
        "p1",
        "p1",
        "p2",
    ]


GOOD = [{"image": "a.png", "kind": "x"}, {"image": "b.png", "kind": "y"}]
LISTS = [{"image": "a.png", "kind": "x|y"}, {"image": "b.png", "kind": "y"}]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (GOOD, {"label": "kidn"}, r"list\.csv: unknown column 'kidn'; did you mean 'kind'"),
        (GOOD, {"label": "kind", "group": "patient"}, "unknown column 'patient'"),
        (GOOD, {"label": "kind", "class_names": ("x", "z")}, "line 3: unknown label 'y'; known: x, z"),
        (
            [*GOOD, {"image": "c.png", "kind": "q"}],
            {"label": "kind", "class_names": ("x", "y")},
            "line 4: unknown label 'q'",
        ),
        ([{"image": "a.png", "kind": "x"}], {"label": "kind"}, r"there is only one class \(x\)"),
        ([*GOOD, {"image": "c.png", "kind": ""}], {"label": "kind"}, "line 4: the label is empty; give one"),
        ([*GOOD, {"image": "d.png", "kind": "x"}], {"label": "kind"}, r"line 4: no such file .*d\.png"),
        ([*GOOD, {"image": "", "kind": "x"}], {"label": "kind"}, "line 4: the image is empty"),
        ([*GOOD, {"image": "a.txt", "kind": "x"}], {"label": "kind"}, r"line 4: a\.txt has no image ending"),
        ([*GOOD, GOOD[0]], {"label": "kind"}, "a stands in line 2, line 4; list each image once"),
        (
            [*LISTS, {"image": "c.png", "kind": "x||y"}],
            {"label": "kind", "separator": "|"},
            "line 4: 'x||y' holds an empty label",
        ),
        (
            [*LISTS, {"image": "c.png", "kind": "No Finding|x"}],
            {"label": "kind", "separator": "|"},
            "line 4: 'No Finding|x' names a label beside 'No Finding'",
        ),
        (
            [{"image": "a.png", "u": "1", "v": "1"}],
            {"labels": ("u", "v"), "exclusive": True},
            "line 2: 1 stands in u, v",
        ),
        (
            [{"image": "a.png", "u": "0", "v": "0"}],
            {"labels": ("u", "v"), "exclusive": True},
            "1 stands in none of the columns",
        ),
        (
            [{"image": "a.png", "u": "yes", "v": "0"}],
            {"labels": ("u", "v")},
            "line 2: u is 'yes'; a column of labels holds 0 and 1",
        ),
        (
            [{**row, "part": "dev"} for row in GOOD],
            {"label": "kind", "split": "part"},
            "line 2: unknown split 'dev'",
        ),
    ],
)
def test_what_is_wrong_with_the_data_is_said_with_its_line(tmp_path, rows, options, message):
    file = table(tmp_path, rows)
    with pytest.raises(DataError, match=message.replace("|", r"\|")) as caught:
        TableSource(file, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"needs label \(one column\) or labels"),
        ({"label": "kind", "labels": ("kind", "image")}, r"needs label \(one column\) or labels"),
        ({"labels": ("kind", "image"), "separator": "|"}, "separator belongs to label"),
        ({"label": "kind", "exclusive": True}, "exclusive belongs to labels"),
        ({"label": "kind", "separator": " "}, "separator must be a character"),
        ({"labels": ("kind",)}, "give label: kind to tell its two values apart"),
        (
            {"labels": ("kind", "image"), "class_names": ("a", "b", "c")},
            "class_names holds 3 names for 2 columns",
        ),
        ({"label": "kind", "unlabelled": "guess"}, "unlabelled must be"),
    ],
)
def test_an_unclear_form_is_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        TableSource(table(tmp_path, GOOD), **options)


def test_files_that_are_no_table(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv: cannot be read"):
        TableSource(tmp_path / "nowhere.csv", label="kind")
    for content, message in (
        (b"", "the file is empty"),
        (b"image,kind\n", "lists no images"),
        (b"\xff\xfe", "not a CSV"),
    ):
        (tmp_path / "odd.csv").write_bytes(content)
        with pytest.raises(DataError, match=message):
            TableSource(tmp_path / "odd.csv", label="kind")
    (tmp_path / "odd.csv").write_text("image,kind\na.png,x,y\n")
    with pytest.raises(DataError, match="line 2: more cells than columns"):
        TableSource(tmp_path / "odd.csv", label="kind")
