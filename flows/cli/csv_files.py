"""Tables as CSV for spreadsheets. Texts from outside cannot become formulas there."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flows.cli.private_files import write_private
from flows.rules.outside_text import plain

_FORMULA = (*"=+-@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A spreadsheet may carry out a text that begins with one of these; the last four are their wide forms."""


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """The rows under the names of their columns. No text in it is a formula; None is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write `csv_text` into a file, as `write_private` does. Raises OSError: it cannot be written."""
    write_private(path, csv_text(columns, rows))


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
