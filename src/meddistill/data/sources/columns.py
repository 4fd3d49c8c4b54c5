"""Labels in the columns of a table: one class, a list of labels, or a column of 0 and 1 for each label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.sources.answers import Target, checked_names
from meddistill.data.sources.scan import listed
from meddistill.data.task import Task
from meddistill.errors import ConfigError, DataError, unknown_name

Cells = Mapping[str, str]

_NUMBERS = {"0": 0, "0.0": 0, "1": 1, "1.0": 1}
_UNKNOWN = ("", "-1", "-1.0")


@dataclass(frozen=True)
class Labels:
    """Which columns hold the labels and how to read them; see `TableSource`."""

    label: str | None = None
    labels: tuple[str, ...] = ()
    separator: str | None = None
    no_finding: str = "No Finding"
    exclusive: bool = False
    allow_unknown: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that hold labels."""
        return self.labels if self.label is None else (self.label,)

    @property
    def task(self) -> Task:
        """Whether labels exclude each other.

        Example:
            >>> Labels(label="finding", separator="|").task, Labels(label="diagnosis").task
            ('multi_label', 'classification')
        """
        several = self.separator is not None or (self.labels and not self.exclusive)
        return "multi_label" if several else "classification"

    def check(self) -> None:
        """Refuse a form that is unclear.

        Raises:
            ConfigError: neither or both of `label` and `labels`, or an option of the other one.
        """
        if (self.label is None) == (not self.labels):
            raise ConfigError("a table needs label (one column) or labels (a column of 0 and 1 for each)")
        if self.labels and self.separator is not None:
            raise ConfigError("separator belongs to label, the column of lists; leave it out beside labels")
        if self.exclusive and not self.labels:
            raise ConfigError("exclusive belongs to labels, columns of 0 and 1; leave it out beside label")
        if self.separator is not None and not self.separator.strip():
            raise ConfigError(
                "separator must be a character such as '|', not blank: labels may hold some (on the command "
                "line | needs quotes of its own: \"'|'\")"
            )
        if len(self.labels) == 1:
            raise ConfigError(
                f"labels holds one column; give label: {self.labels[0]} to tell its two values apart"
            )


class Reader(NamedTuple):
    """Reads the labels of a line as the form says; `names` are those of the classes or labels."""

    form: Labels
    names: tuple[str, ...]

    def target(self, cells: Cells, where: str) -> Target:
        """The label of one line.

        Raises:
            DataError: it is missing, unknown, or contradicts itself.
        """
        if self.form.labels:
            return self._from_columns(cells, where)
        text = cells[self.form.columns[0]]
        if not text and (self.form.separator is None or self.form.no_finding):
            return self._unknown(where)
        if self.form.separator is None:
            return (self._index(_plain(text), where),)
        return self._from_list(text, where)

    def _from_list(self, text: str, where: str) -> Target:
        found = [_plain(name) for name in text.split(self.form.separator)] if text else [""]
        if "" in found and text:
            raise DataError(f"{where}: {text!r} holds an empty label; remove a {self.form.separator!r} there")
        nothing = _plain(self.form.no_finding)
        if nothing in found and len(set(found)) > 1:
            raise DataError(f"{where}: {text!r} names a label beside {nothing!r}; remove one of them")
        held = {self._index(name, where) for name in found if name != nothing}
        return tuple(int(label in held) for label in range(len(self.names)))

    def _from_columns(self, cells: Cells, where: str) -> Target:
        values = tuple(self._number(cells[name], name, where) for name in self.form.labels)
        if self.form.task == "multi_label":
            return values
        if IGNORE_INDEX in values:
            return (IGNORE_INDEX,)
        held = [number for number, value in enumerate(values) if value]
        if len(held) != 1:
            shown = listed(self.names[number] for number in held) or "none of the columns"
            raise DataError(f"{where}: 1 stands in {shown}; exclusive labels need it in exactly one column")
        return (held[0],)

    def _number(self, text: str, name: str, where: str) -> int:
        if text in _NUMBERS:
            return _NUMBERS[text]
        if text in _UNKNOWN:
            if self.form.allow_unknown:
                return IGNORE_INDEX
            raise DataError(
                f"{where}: {name} is {text!r}; give 0 or 1, or unlabelled: allow to leave out what is unknown"
            )
        raise DataError(f"{where}: {name} is {text!r}; a column of labels holds 0 and 1")

    def _index(self, name: str, where: str) -> int:
        if name not in self.names:
            raise DataError(f"{where}: {unknown_name('label', name, self.names)}")
        return self.names.index(name)

    def _unknown(self, where: str) -> Target:
        if not self.form.allow_unknown:
            raise DataError(f"{where}: the label is empty; give one, or unlabelled: allow")
        return (IGNORE_INDEX,) * (len(self.names) if self.form.task == "multi_label" else 1)


def labels_reader(
    form: Labels, lines: Sequence[Cells], class_names: Sequence[str], *, where: object
) -> Reader:
    """The reader of a table, with the names of its classes.

    Args:
        form: how labels are written.
        lines: all lines, which the names are taken from where none are given.
        class_names: names that were given, perhaps none.
        where: the file, for messages.

    Raises:
        DataError: no names are given, and the lines hold fewer than two.
        ConfigError: names that do not fit the columns.

    Example:
        >>> form = Labels(label="finding", separator="|")
        >>> reader = labels_reader(form, [{"finding": "Pleural  fluid | Mass"}], (), where="a.csv")
        >>> reader.names, reader.target({"finding": "Pleural fluid"}, "line 2")
        (('Mass', 'Pleural fluid'), (0, 1))
    """
    if form.labels:
        if class_names and len(class_names) != len(form.labels):
            raise ConfigError(
                f"class_names holds {len(class_names)} names for {len(form.labels)} columns; give one each"
            )
        given = class_names or form.labels
        return Reader(form, checked_names(given, given, where=where, kind="label"))
    kind = "label" if form.task == "multi_label" else "class"
    names = [_plain(name) for name in class_names]
    return Reader(form, checked_names(names, _found(form, lines), where=where, kind=kind))


def _found(form: Labels, lines: Iterable[Cells]) -> set[str]:
    texts = (line[form.columns[0]] for line in lines)
    if form.separator is None:
        return {_plain(text) for text in texts if text}
    names = {_plain(name) for text in texts for name in text.split(form.separator)}
    return names - {"", _plain(form.no_finding)}


def _plain(name: str) -> str:
    """A name without blanks around it, and with single ones inside."""
    return " ".join(name.split())
