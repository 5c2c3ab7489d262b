"""JSON containment, for the predicate `jcont`."""

from __future__ import annotations

from typing import Any

import orjson


def contains_json(stored: str | None, wanted: str) -> bool:
    """JSON containment as PostgreSQL's `@>`: every member of `wanted` is in `stored`, at any depth."""
    if stored is None:
        return False
    try:
        return _contains(orjson.loads(stored), orjson.loads(wanted))
    except RecursionError:  # nested too deeply to compare
        return False


def _contains(stored: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(stored, dict) and all(
            key in stored and _contains(stored[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(stored, list) and all(any(_contains(item, value) for item in stored) for value in wanted)
    return type(stored) is type(wanted) and bool(stored == wanted)
