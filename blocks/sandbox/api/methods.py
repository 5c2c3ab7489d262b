"""Which methods an address of the API answers to."""

from __future__ import annotations

from collections.abc import Sequence

from blocks.sandbox.resources.definitions import ResourceType

_LISTED, _ONE, _RELATED, _LINKAGE = 1, 2, 3, 4  # segments of a path after /api
_READING = ("GET", "HEAD")


def methods_of(kind: ResourceType, segments: Sequence[str]) -> tuple[str, ...]:
    """The methods of a path, which is given as its segments after /api; none where there is nothing."""
    if len(segments) == _LISTED:
        offered = _READING if kind.singleton else _by_action(kind, {"l": _READING, "c": ("POST",)})
    elif len(segments) == _ONE and not kind.singleton:
        offered = _by_action(kind, {"r": _READING, "u": ("PATCH",), "d": ("DELETE",)})
    elif _is_relationship(kind, segments):
        offered = _READING
    else:
        return ()
    return (*offered, "OPTIONS") if offered else ()


def _by_action(kind: ResourceType, methods: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(method for action, offered in methods.items() if action in kind.actions for method in offered)


def _is_relationship(kind: ResourceType, segments: Sequence[str]) -> bool:
    named = len(segments) == _RELATED or (len(segments) == _LINKAGE and segments[2] == "relationships")
    return named and segments[-1] in kind.relationships
