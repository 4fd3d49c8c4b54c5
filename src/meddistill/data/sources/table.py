"""A CSV file with an image and its label or labels in every line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import NamedTuple

from meddistill.data.case import SPLITS, Case
from meddistill.data.images import image_endings, is_image, strip_ending
from meddistill.data.sources.answers import ImageAnswers, Target, set_fields, strata
from meddistill.data.sources.class_folder import SPLIT_FOLDERS
from meddistill.data.sources.columns import Labels, labels_reader
from meddistill.data.sources.scan import (
    FlatImages,
    Unlabelled,
    check_channels,
    check_choice,
    compiled_pattern,
    listed,
    matched_name,
)
from meddistill.data.task import Task
from meddistill.errors import DataError, unknown_name


@dataclass(frozen=True)
class TableSource(FlatImages, ImageAnswers):
    r"""The images that a CSV lists, with labels in one of four forms; other columns do not matter.

    - `label`: one column with the class. Classification.
    - `label` and `separator`: one column with a list of labels such as `Mass|Effusion`; images without any
      carry the name `no_finding`. Multi-label, as in NIH ChestX-ray14.
    - `labels`: a column of 0 and 1 for each label. Multi-label.
    - `labels` and `exclusive`: the same with a single 1 in each line. Classification, as in ISIC 2019.

    Args:
        path: the CSV file (UTF-8, commas).
        root: folder that image names start from; by default that of the CSV.
        image: column of the image.
        label: column of the class, or of the list of labels.
        labels: columns of 0 and 1.
        separator: what stands between the labels of a list.
        no_finding: what stands in place of an empty list; "" where empty lists are left empty.
        exclusive: the columns of 0 and 1 exclude each other.
        group: column of the group (patient).
        split: column of the split; `val` and `valid` stand for selection.
        class_names: classes or labels in the order of their numbers; by default sorted (those of `labels` as
            given).
        channels: 1 for grey, 3 for colour.
        ending: appended to image names that have none, for example `.jpg`.
        group_pattern: searched in the file name where there is no column of groups, see `ClassFolderSource`.
        unlabelled: "refuse" empty labels, or "allow" them as unknown; in columns of 0 and 1 also a -1.

    Raises:
        DataError: the CSV cannot be read, lacks a column, names a missing file, one image twice or an unknown
            label, or has fewer than two classes. The message gives the line.
        ConfigError: an argument is out of range, or the form of the labels is unclear.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in "ab":
        ...     Image.new("L", (3, 2)).save(root / f"{name}.png")
        >>> _ = (root / "nih.csv").write_text("file,finding\na.png,Mass|Hernia\nb.png,No Finding\n")
        >>> source = TableSource(root / "nih.csv", image="file", label="finding", separator="|")
        >>> source.class_names, [source.read_label(case).tolist() for case in source.cases]
        (('Hernia', 'Mass'), [[1, 1], [0, 0]])
    """

    path: Path
    _: KW_ONLY
    root: Path | None = None
    image: str = "image"
    label: str | None = None
    labels: tuple[str, ...] = ()
    separator: str | None = None
    no_finding: str = "No Finding"
    exclusive: bool = False
    group: str | None = None
    split: str | None = None
    class_names: tuple[str, ...] = ()
    channels: int = 1
    ending: str = ""
    group_pattern: str | None = None
    unlabelled: Unlabelled = "refuse"
    task: Task = field(init=False)
    cases: tuple[Case, ...] = field(init=False, repr=False)
    targets: Mapping[str, Target] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_channels(self.channels)
        check_choice("unlabelled", self.unlabelled, ("refuse", "allow"))
        path = Path(self.path)
        form = Labels(
            label=self.label,
            labels=tuple(self.labels),
            separator=self.separator,
            no_finding=self.no_finding,
            exclusive=self.exclusive,
            allow_unknown=self.unlabelled == "allow",
        )
        form.check()
        lines = list(_lines(path, self._columns(form)))
        if not lines:
            raise DataError(f"{path}: the file lists no images")
        reader = labels_reader(form, [line.cells for line in lines], self.class_names, where=path)
        targets = [reader.target(line.cells, f"{path}, line {line.number}") for line in lines]
        stratum = strata(targets, reader.names, form.task)
        folder = path.parent if self.root is None else Path(self.root)
        cases = tuple(self._case(line, folder, path, name) for line, name in zip(lines, stratum, strict=True))
        _check_unique(cases, lines, path)
        set_fields(
            self,
            path=path,
            root=folder,
            labels=form.labels,
            class_names=reader.names,
            task=form.task,
            cases=cases,
            targets={case.id: target for case, target in zip(cases, targets, strict=True)},
        )

    def _columns(self, form: Labels) -> list[str]:
        optional = [column for column in (self.group, self.split) if column is not None]
        return [self.image, *form.columns, *optional]

    def _case(self, line: _Line, folder: Path, path: Path, stratum: str) -> Case:
        where = f"{path}, line {line.number}"
        name = line.cells[self.image]
        if not name:
            raise DataError(f"{where}: the image is empty")
        file = folder / (name if is_image(name) else f"{name}{self.ending}")
        if not is_image(file):
            known = ", ".join(sorted(image_endings()))
            raise DataError(f"{where}: {name} has no image ending; give ending, one of {known}")
        if not file.is_file():
            raise DataError(f"{where}: no such file {file}; image names start from root")
        case_id = strip_ending("/".join(part for part in Path(name).parts if part not in ("/", "..", ".")))
        split = _split(line.cells[self.split], where) if self.split is not None else None
        return Case(
            id=case_id, image=file, group=self._group(line, case_id, file), stratum=stratum, split=split
        )

    def _group(self, line: _Line, case_id: str, file: Path) -> str:
        if self.group is not None:
            return line.cells[self.group] or case_id
        pattern = compiled_pattern(self.group_pattern)
        return case_id if pattern is None else matched_name(pattern, strip_ending(file.name), file)


class _Line(NamedTuple):
    """A line of the CSV by column, without blanks around the cells."""

    number: int
    cells: Mapping[str, str]


def _lines(path: Path, columns: Sequence[str]) -> Iterator[_Line]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            _check_columns(path, [name.strip() for name in rows.fieldnames or ()], columns)
            rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
            for row in rows:
                if None in row:
                    raise DataError(
                        f"{path}, line {rows.line_num}: more cells than columns; quote cells with a comma"
                    )
                yield _Line(rows.line_num, {name: (row[name] or "").strip() for name in columns})
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error})") from error


def _check_columns(path: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    if not found:
        raise DataError(f"{path}: the file is empty; its first line names the columns")
    for name in wanted:
        if name not in found:
            raise DataError(f"{path}: {unknown_name('column', name, found)}")
    twice = [name for name in wanted if found.count(name) > 1]
    if twice:
        raise DataError(f"{path}: the column {twice[0]} stands twice; rename one of them")


def _split(name: str, where: str) -> str | None:
    if not name:
        return None
    if name.lower() not in SPLIT_FOLDERS:
        raise DataError(f"{where}: {unknown_name('split', name, SPLITS)}")
    return SPLIT_FOLDERS[name.lower()]


def _check_unique(cases: Sequence[Case], lines: Sequence[_Line], path: Path) -> None:
    seen: dict[str, int] = {}
    for case, line in zip(cases, lines, strict=True):
        if case.id in seen:
            places = listed(f"line {number}" for number in (seen[case.id], line.number))
            raise DataError(f"{path}: {case.id} stands in {places}; list each image once")
        seen[case.id] = line.number
