"""A CSV file that lists images, labels, groups and splits."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, InitVar, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from meddistill.data.case import SPLITS, Case
from meddistill.data.images import image_endings, is_image, read_indices, strip_ending
from meddistill.data.sources.scan import FlatImages, check_channels, ignored_label, image_of, listed
from meddistill.errors import ConfigError, DataError, unknown_name

COLUMNS = ("image", "label", "group", "split", "weak")
"""Only `image` must be there. Files are given relative to the CSV or absolute."""


_WHITE = 255
"""The foreground in a mask of two classes that is meant to be looked at."""


@dataclass(frozen=True)
class ManifestSource(FlatImages):
    r"""The cases of a CSV with the columns image, label, group, split and weak.

    Label files hold class numbers 0..K-1 as grey values or palette indices; of two classes they may also hold
    0 and 255. An empty label leaves the case
    unlabelled (every pixel ignored), an empty group makes it its own group, `split` is one of `SPLITS` or
    empty, and a file in `weak` holds class numbers and some further value where nothing is labelled. The case
    id is the image's path as written, without ending and without leading `/` or `..`.

    Args:
        path: the CSV file (UTF-8, commas).
        class_names: name of each label value, background first; or give `num_classes` alone.
        num_classes: K; the names are then background, class 1, class 2, ...
        channels: 1 for grey, 3 for colour.

    Raises:
        DataError: the CSV cannot be read, has an unknown column or none called image, names a missing file, a
            split that does not exist, or one image twice. The message gives the line.
        ConfigError: neither or contradicting `class_names` and `num_classes`, fewer than two classes, wrong
            channels.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> Image.new("L", (3, 2)).save(root / "a.png")
        >>> _ = (root / "list.csv").write_text("image,label,split\na.png,a.png,test\n")
        >>> ManifestSource(root / "list.csv", num_classes=2).cases[0].split
        'test'
    """

    path: Path
    _: KW_ONLY
    class_names: tuple[str, ...] = ()
    num_classes: InitVar[int | None] = None
    channels: int = 1
    cases: tuple[Case, ...] = field(init=False, repr=False)

    def __post_init__(self, num_classes: int | None) -> None:
        check_channels(self.channels)
        object.__setattr__(self, "path", Path(self.path))
        object.__setattr__(self, "class_names", _class_names(self.class_names, num_classes))
        object.__setattr__(self, "cases", tuple(_unique(_read_cases(self.path), self.path)))

    def read_label(self, case: Case) -> npt.NDArray[np.int16]:
        """The class numbers as (H, W); all ignored for an unlabelled case.

        Raises:
            DataError: the file cannot be read or holds a value outside 0..K-1.
        """
        if not case.labels:
            return ignored_label(image_of(case))
        path = case.labels[0]
        values = read_indices(path)
        largest = int(values.max())
        if largest == _WHITE and len(self.class_names) == 2 and bool(np.isin(values, (0, _WHITE)).all()):
            return (values == _WHITE).astype(np.int16)
        if values.min() < 0 or largest >= len(self.class_names):
            wrong = largest if values.min() >= 0 else int(values.min())
            raise DataError(
                f"{path}: label value {wrong} is outside 0..{len(self.class_names) - 1}; "
                "labels are class numbers: correct the file or the number of classes"
            )
        return values.astype(np.int16)

    def read_weak(self, case: Case) -> npt.NDArray[np.int32]:
        """The numbers in the file of the weak label as (H, W); all ignored for a case without one.

        Raises:
            DataError: the file cannot be read.
        """
        if case.weak is None:
            return ignored_label(image_of(case)).astype(np.int32)
        return read_indices(case.weak)


def _class_names(names: Iterable[str], num_classes: int | None) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ConfigError(f"class_names must be a list of names, not the text {names!r}")
    given = tuple(names)
    if not given and num_classes is None:
        raise ConfigError(
            "a manifest does not say how many classes there are: give class_names or num_classes"
        )
    if given and num_classes not in (None, len(given)):
        raise ConfigError(f"num_classes is {num_classes}, but class_names holds {len(given)} names")
    made = given or ("background", *(f"class {value}" for value in range(1, num_classes or 0)))
    if len(made) < 2 or (num_classes is not None and num_classes < 2):
        raise ConfigError(
            f"at least two classes are needed (background included), not {num_classes or len(made)}"
        )
    return made


def _read_cases(path: Path) -> Iterator[tuple[int, Case]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            _check_columns(path, rows.fieldnames)
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                if None in row:
                    raise DataError(f"{where}: more cells than columns; quote names that hold a comma")
                yield rows.line_num, _case({key: (row[key] or "").strip() for key in row}, path.parent, where)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error})") from error


def _check_columns(path: Path, columns: Iterable[str] | None) -> None:
    if columns is None:
        raise DataError(f"{path}: the file is empty; it needs at least the column image")
    given = list(columns)
    for column in given:
        if column not in COLUMNS:
            raise DataError(f"{path}: {unknown_name('column', column, COLUMNS)}")
    if "image" not in given:
        raise DataError(f"{path}: the column image is missing; there are only {', '.join(given)}")
    if len(set(given)) < len(given):
        raise DataError(f"{path}: a column stands twice in {', '.join(given)}")


def _case(row: dict[str, str], folder: Path, where: str) -> Case:
    if not row["image"]:
        raise DataError(f"{where}: the image is empty")
    if row.get("split") and row["split"] not in SPLITS:
        raise DataError(f"{where}: {unknown_name('split', row['split'], SPLITS)}")
    image, label, weak = (_file(row.get(column, ""), folder, where) for column in ("image", "label", "weak"))
    parts = Path(row["image"]).parts
    case_id = strip_ending("/".join(part for part in parts if part not in ("/", "..", ".")))
    return Case(
        id=case_id,
        image=image,
        labels=() if label is None else (label,),
        group=row.get("group") or case_id,
        split=row.get("split") or None,
        weak=weak,
    )


def _file(name: str, folder: Path, where: str) -> Path | None:
    if not name:
        return None
    path = folder / name
    if not path.is_file():
        raise DataError(f"{where}: no such file {path}")
    if not is_image(path):
        raise DataError(
            f"{where}: {name} has no known image ending; known: {', '.join(sorted(image_endings()))}"
        )
    return path


def _unique(numbered: Iterable[tuple[int, Case]], path: Path) -> Iterator[Case]:
    lines: dict[str, int] = {}
    for line, case in numbered:
        if case.id in lines:
            raise DataError(
                f"{path}: {case.id} stands in {listed(f'line {n}' for n in (lines[case.id], line))}"
            )
        lines[case.id] = line
        yield case
    if not lines:
        raise DataError(f"{path}: the file lists no images")
