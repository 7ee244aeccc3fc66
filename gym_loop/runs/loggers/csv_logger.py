"""``metrics.csv``: one row a log call, readable by everything."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gym_loop.errors import RunError
from gym_loop.runs.loggers.append_file import AppendFile
from gym_loop.runs.loggers.base import BaseLogger
from gym_loop.schema.files import open_regular
from gym_loop.schema.printable import as_cell

FLUSH_SECONDS = 1.0
MAX_WAITING_ROWS = 500_000  # about 50 MB, while a full disk refuses them
MAX_LAYOUTS = 256


class CsvLogger(BaseLogger):
    """Writes ``metrics.csv``: columns ``step``, ``seconds``, then metrics as they first appear.

    Numbers are written in full (the shortest text that reads back as the same float), a
    metric that was not logged at that moment leaves its cell empty. A metric that appears
    later adds a column to the whole file. A name that a spreadsheet would take for a formula is
    written with ``'`` before it.

    A resumed run drops the rows and the columns that came after its checkpoint, so that the
    file ends up the same, byte for byte, as if the run had never stopped (but for columns
    that hold times).
    """

    def __init__(self, directory: Path, run_id: str, **parameters: Any) -> None:
        super().__init__(directory, run_id, **parameters)
        self.path = self.directory / "metrics.csv"
        self._file: AppendFile | None = None  # opened by the first flush
        self._columns: list[str] = []
        self._columns_on_disk = 0
        self._rows_on_disk = 0
        self._waiting: list[str] = []  # rows that are not on disk yet
        self._flush_at = 0.0
        # names in the order of a log call -> (format of a row, names in column order)
        self._layouts: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {}

    def log(self, step: int, scalars: Mapping[str, float], seconds: float) -> None:
        """Add one row; it is on disk about a second later at most."""
        names = tuple(scalars)
        row, ordered = self._layouts.get(names) or self._add_layout(names)
        self._waiting.append(row % (step, seconds, *map(scalars.__getitem__, ordered)))
        if seconds >= self._flush_at:
            self._flush_at = seconds + FLUSH_SECONDS
            self.flush()

    def flush(self) -> None:
        """Write the waiting rows.

        Raises:
            OSError: they could not be written; they wait for the next flush.
            RunError: too many rows are waiting.
        """
        if not self._waiting:
            return
        rows = ("\n".join(self._waiting) + "\n").encode()
        try:
            if self._file is None or self._columns_on_disk < len(self._columns):
                self._rewrite(self._padded_rows(), rows)
            else:
                self._file.append(rows)
        except OSError as error:
            if len(self._waiting) > MAX_WAITING_ROWS:
                raise RunError(
                    f"{self.path}: {len(self._waiting)} rows could not be written ({error}); "
                    "free some space or choose another logdir"
                ) from error
            raise
        self._rows_on_disk += len(self._waiting)
        self._waiting.clear()

    def close(self, exit_reason: str) -> None:
        """Write the waiting rows and close the file."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def state_dict(self) -> dict[str, Any]:
        """Return how many rows the file holds, and which metrics."""
        return {"rows": self._rows_on_disk, "columns": self._columns[: self._columns_on_disk]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Drop the rows and columns that came after this position.

        Raises:
            RunError: the file has fewer rows than that; what it has is kept.
        """
        rows, columns = state.get("rows"), state.get("columns")
        if type(rows) is not int or rows < 0 or type(columns) is not list:
            raise RunError(f"the position in {self.path} is damaged: the file begins anew")
        self._columns = [str(name) for name in columns]
        if rows == 0:
            self.path.unlink(missing_ok=True)
        elif os.path.lexists(self.path):
            self._rewrite(self._cut_rows(rows))
        if self._rows_on_disk < rows:
            raise RunError(
                f"{self.path} holds {self._rows_on_disk} of the {rows} rows that it had at the "
                "checkpoint; it goes on from there, copy the missing rows from a backup"
            )

    def _add_layout(self, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        added = [name for name in names if name not in self._columns]
        if added:
            self._columns += added
            self._waiting = [row + "," * len(added) for row in self._waiting]
            self._layouts.clear()
        if len(self._layouts) >= MAX_LAYOUTS:
            self._layouts.clear()
        cells = [",%r" if name in names else "," for name in self._columns]
        ordered = tuple(name for name in self._columns if name in names)
        self._layouts[names] = "%d,%.3f" + "".join(cells), ordered
        return self._layouts[names]

    def _rewrite(self, kept: Iterable[bytes], added: bytes = b"") -> None:
        """Write the whole file anew under another name, then put it in place."""
        temporary = self.path.with_name(f".{self.path.name}.new")
        try:
            temporary.unlink(missing_ok=True)  # a killed run's, or a link to somewhere else
            with open(temporary, "xb") as file:
                file.write(_header(self._columns))
                file.writelines(kept)
                file.write(added)
                file.flush()
                os.fsync(file.fileno())
            renewed = AppendFile(temporary)
            os.replace(temporary, self.path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        if self._file is not None:
            self._file.close()
        self._file = renewed
        self._columns_on_disk = len(self._columns)

    def _padded_rows(self) -> Iterator[bytes]:
        """The rows on disk, with empty cells for the metrics that are new."""
        if self._file is None:
            return
        padding = b"," * (len(self._columns) - self._columns_on_disk) + b"\n"
        with open(self.path, "rb", opener=open_regular) as file:
            next(file)
            for row in file:
                yield row[:-1] + padding

    def _cut_rows(self, rows: int) -> Iterator[bytes]:
        """The first rows on disk, without the metrics that came later; counts them."""
        width = 2 + len(self._columns)
        with open(self.path, "rb", opener=open_regular) as file:
            next(file, None)
            for row in file:
                if self._rows_on_disk == rows or not row.endswith(b"\n"):
                    return
                cells = row[:-1].split(b",")[:width]
                yield b",".join(cells) + b"," * (width - len(cells)) + b"\n"
                self._rows_on_disk += 1


def _header(columns: list[str]) -> bytes:
    """One line: a line break in a metric's name would make a second one."""
    line = io.StringIO()
    names = [as_cell(" ".join(name.splitlines())) for name in columns]
    csv.writer(line, lineterminator="\n").writerow(["step", "seconds", *names])
    return line.getvalue().encode("utf-8", "backslashreplace")
