"""The file of `--as`: how another organization behaves, as one JSON object of option names and values."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from blocks.sandbox.settings import Settings

_ITS_OWN = frozenset(
    {
        *("organization", "mode", "client_id", "client_secret", "token_seconds", "seed", "durable"),
        *("limits", "limit_scale", "limit_clock"),
    }
)
"""Settings that say which sandbox this is. All others say how Commerce Layer behaves, and a file may have them."""


def defaults_of(parser: argparse.ArgumentParser, path: Path) -> dict[str, Any]:
    """
    The settings in a file, by destination: defaults for options that are not given.

    Raises:
        ValueError, TypeError: the file cannot be read, or a setting is unknown or impossible; the message names it.
    """
    options = _options_of(parser)
    defaults = {}
    for name, value in _read(path).items():
        if name not in options:
            raise ValueError(f"--as {path}: there is no setting {name!r}; there are {', '.join(sorted(options))}")
        defaults[options[name].dest] = _checked(options[name], value, f"--as {path}: {name}")
    return defaults


def _options_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options that a file may set, by their names without dashes."""
    behaviour = Settings.__dataclass_fields__.keys() - _ITS_OWN
    actions = parser._actions  # noqa: SLF001  argparse has no public way to the options of a parser
    return {
        option.removeprefix("--"): action
        for action in actions
        if action.dest in behaviour
        for option in action.option_strings
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise ValueError(f"--as {path}: the file cannot be read: {reason}") from None
    if not isinstance(found, dict):
        raise TypeError(f'--as {path}: the file has no object such as {{"copy-pays": "newest"}}')
    return found


def _checked(action: argparse.Action, value: Any, where: str) -> Any:
    """The value as the command line would read it."""
    if action.choices is not None:
        if value not in list(action.choices):
            raise ValueError(f"{where} is {value!r}; it is one of {', '.join(map(str, action.choices))}")
        return value
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"{where} is {value!r}; it is true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where} is {value!r}; it is a number")
    return float(value)
