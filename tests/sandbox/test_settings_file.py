"""`--as FILE`: the sandbox behaves as the file says, and options that are given besides win."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blocks.sandbox.__main__ import main
from blocks.sandbox.control import command_line
from blocks.sandbox.settings import Settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my-shop.json"


def settings(*arguments: str) -> Settings:
    return command_line.settings_of(command_line.options_of(command_line.parser(), arguments))


def test_the_file_sets_how_the_sandbox_behaves(file: Path) -> None:
    file.write_text('{"copy-pays": "newest", "list-lag": 2.5, "copy-seconds": 7, "count-blocked": true}')

    assert settings("--as", str(file)) == replace(
        Settings(), copy_pays="newest", list_lag_seconds=2.5, copy_seconds=7.0, count_blocked=True
    )


@pytest.mark.parametrize("order", ["--as {} --copy-pays source-order", "--copy-pays source-order --as {}"])
def test_an_option_that_is_given_besides_wins_wherever_it_stands(file: Path, order: str) -> None:
    file.write_text('{"copy-pays": "newest", "list-lag": 2.5}')

    found = settings(*order.format(file).split())

    assert (found.copy_pays, found.list_lag_seconds) == ("source-order", 2.5)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"copy-payz": "newest"}, "there is no setting 'copy-payz'; there are a"),
        ({"client-secret": "mine"}, "there is no setting 'client-secret'"),
        ({"copy-pays": "oldest"}, "copy-pays is 'oldest'; it is one of source-order, newest, subscription"),
        ({"copy-pays": ["newest"]}, "copy-pays is ['newest']; it is one of"),
        ({"list-lag": "2"}, "list-lag is '2'; it is a number"),
        ({"list-lag": True}, "list-lag is True; it is a number"),
        ({"list-lag": -1}, "--list-lag is -1.0; it lies between 0 and 86400"),
        ({"copy-spread": 2}, "--copy-spread is 2.0; it lies between 0 and 1"),
        ({"count-blocked": "yes"}, "count-blocked is 'yes'; it is true or false"),
        ([], 'the file has no object such as {"copy-pays": "newest"}'),
        (None, "the file cannot be read: No such file or directory"),
        ("{", "the file cannot be read: it is not JSON"),
        ('{"list-lag": NaN}', "list-lag is nan; it is a number"),
    ],
)
def test_what_the_file_must_not_have_is_named(file: Path, content: Any, says: str, capsys) -> None:
    if content is not None:
        file.write_text(content if isinstance(content, str) else json.dumps(content))

    with pytest.raises(SystemExit) as ended:
        main(["--as", str(file)])

    assert ended.value.code == 2
    assert says in capsys.readouterr().err
