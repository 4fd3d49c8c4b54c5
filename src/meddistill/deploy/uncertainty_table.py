"""How uncertain the student is of each image or volume that it predicted, as a CSV beside the masks."""

from __future__ import annotations

from pathlib import Path

from meddistill.errors import RunError
from meddistill.files import csv_text, write_text

FILE = "uncertainty.csv"
"""Name of the file in an output folder."""

COLUMN = "uncertainty"


class UncertaintyTable:
    """Gathers a line for each prediction.

    Args:
        folder: of the images.
        output: of the masks.
        overwrite: whether the file may be there already.

    Raises:
        RunError: it is there and must not be replaced.

    Example:
        >>> import tempfile
        >>> table = UncertaintyTable(Path("in"), Path(tempfile.mkdtemp()), overwrite=False)
        >>> table.add(Path("in/a/b.png"), table.file.with_name("b_mask.png"), 0.25)
        >>> table.write()
        >>> print(table.file.read_text(), end="")
        image,mask,uncertainty
        a/b.png,b_mask.png,0.25
    """

    def __init__(self, folder: Path, output: Path, *, overwrite: bool) -> None:
        self.folder, self.file = folder, output / FILE
        if self.file.exists() and not overwrite:
            raise RunError(f"{self.file} is there already; choose another output folder or overwrite")
        self._rows: list[tuple[str, str, float]] = []

    def add(self, image: Path, mask: Path, uncertainty: float) -> None:
        """A line, with the names below their folders."""
        names = (image.relative_to(self.folder), mask.relative_to(self.file.parent))
        self._rows.append((names[0].as_posix(), names[1].as_posix(), uncertainty))

    def write(self) -> None:
        """Write the file in one step; nothing where no line was added."""
        if self._rows:
            write_text(self.file, csv_text(["image", "mask", COLUMN], self._rows))
