"""Files for spreadsheets."""

from __future__ import annotations

import csv
import io
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.cli.csv_files import csv_text, write_csv


def test_no_text_from_outside_is_a_formula(tmp_path: Path) -> None:
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\uff1d1", "a=1", "'"]

    write_csv(tmp_path / "out.csv", ["said"], [{"said": each} for each in texts])

    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        cells = [row["said"] for row in csv.DictReader(file)]
    assert cells == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'=1", "'=1", "'\uff1d1", "a=1", "'"]


@given(st.lists(st.text(alphabet="a=+-@ ,\"'\n\r\t;\uff1d"), min_size=1))
def test_whatever_the_texts_are_a_reader_finds_as_many_cells_and_no_formula(texts: list[str]) -> None:
    _, *rows = csv.reader(io.StringIO(csv_text(["said", "x"], [{"said": each, "x": 1} for each in texts]), newline=""))

    assert [len(row) for row in rows] == [2] * len(texts)
    assert not any(said.lstrip().startswith(("=", "+", "-", "@", "\uff1d")) for said, _ in rows)


def test_numbers_stay_numbers_and_nothing_is_an_empty_cell(tmp_path: Path) -> None:
    write_csv(tmp_path / "out.csv", ["a", "b", "c", "d"], [{"a": -5, "b": None, "c": True, "x": "left out"}])

    assert (tmp_path / "out.csv").read_text().splitlines() == ["a,b,c,d", "-5,,yes,"]


def test_only_the_owner_can_read_the_file_also_where_one_was_before(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    path.chmod(0o644)

    write_csv(path, ["a"], [{"a": 1}])

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_cannot_be_completed_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def rows():
        yield {"a": 1}
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        write_csv(path, ["a"], rows())

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
