"""Which methods an address of the API answers to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from blocks.sandbox.resources.definitions import ResourceType
from blocks.sandbox.resources.resource_types import RESOURCE_TYPES

_LISTED, _ONE, _RELATED, _LINKAGE = 1, 2, 3, 4  # segments of a path after /api
_READING = ("GET", "HEAD", "OPTIONS")
_ACTIONS = {
    _LISTED: {"l": ("GET", "HEAD"), "c": ("POST",)},
    _ONE: {"r": ("GET", "HEAD"), "u": ("PATCH",), "d": ("DELETE",)},
}


def methods_of(kind: ResourceType, segments: Sequence[str]) -> tuple[str, ...]:
    """The methods of a path, which is given as its segments after /api; none where there is nothing."""
    if len(segments) <= _ONE:
        return _own_methods(kind.name, len(segments))
    is_named = len(segments) == _RELATED or (len(segments) == _LINKAGE and segments[2] == "relationships")
    return _READING if is_named and segments[-1] in kind.relationships else ()


@cache
def _own_methods(type_name: str, segments: int) -> tuple[str, ...]:
    kind = RESOURCE_TYPES[type_name]
    if kind.singleton:
        return _READING if segments == _LISTED else ()
    offered = [method for action, methods in _ACTIONS[segments].items() if action in kind.actions for method in methods]
    return (*offered, "OPTIONS") if offered else ()
