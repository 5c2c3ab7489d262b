"""
Faults on demand: what networks, proxies and busy servers do to requests.

A fault selects requests by method, path and a pattern in query or body, and hits all of them, the n-th ones or a share.
It does one thing to each, before or after the request is carried out. After means that the request was carried out,
but the caller does not learn of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from typing import Any

from blocks.sandbox.http.messages import Request

ACTIONS = {
    "status": "answer with `status` (and `body`: html, json or a text) instead of the true answer",
    "reset": "reset the TCP connection without an answer",
    "close": "close the TCP connection without an answer",
    "hang": "never answer; the connection stays open until the caller gives up or the sandbox stops",
    "delay": "wait `seconds` of real time before (or after) the request is carried out",
    "truncate": "send half of the answer's body, then reset",
    "slow": "send the answer's body in pieces over `seconds`",
    "malformed": "answer with the true status and a body that is not JSON",
    "odd": "answer with other values: `changes` maps ids of resources to attributes with their values",
    "late": (
        "carry the request out `seconds` of sandbox time later; `stamp`: it carries the times and ids of that moment "
        "(commit) or of its arrival (arrival); `answer`: the connection is reset at once (lost), the caller waits "
        "(at_commit), or gets the answer at once, although nothing is stored yet (at_once)"
    ),
    "throttle": "answer 429 as the edge does; nothing is carried out",
    "revoke": "revoke the access token, then answer as usual",
}
LATEST_SECONDS = 86_400
"""The longest delay of a request: a day."""

_STAMPS = ("commit", "arrival")
_ANSWERS = ("lost", "at_commit", "at_once")
_AFTER_ONLY = {"truncate", "slow", "malformed", "odd"}
_BEFORE_ONLY = {"late", "throttle", "revoke"}


@dataclass(slots=True)
class Fault:
    """What happens to which requests. `ACTIONS` lists the possible actions."""

    action: str
    when: str = "before"
    method: str = "*"
    path: str = "*"
    """A path in which `*` stands for anything, e.g. `/api/order_copies` or `/api/orders/*`."""
    match: str = ""
    """A regular expression that must be found in the query string or the body, e.g. a reference."""
    times: int | None = None
    """How many requests it hits before it is used up; None = until cleared."""
    nth: list[int] = field(default_factory=list)
    """Which of the selected requests it hits, counted from 1; empty = all."""
    share: float = 1.0
    """Share of the selected requests that it hits; the sandbox's seed decides which."""
    status: int = 500
    body: str = "html"
    seconds: float = 0.0
    stamp: str = "commit"
    """Times and ids of a late request are those of its `commit` or of its `arrival`."""
    answer: str = "lost"
    """The answer to a late request is `lost`, or it comes `at_commit` or `at_once`."""
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What an odd answer shows: attributes by the id of a resource, each with any JSON value."""
    seen: int = 0
    hits: int = 0

    def matches(self, request: Request) -> bool:
        """Whether the request is one that this fault selects."""
        if self.method not in {"*", request.method} or not _fits(self.path, request.path):
            return False
        if not self.match:
            return True
        return re.search(self.match, f"{request.query}\n{request.body.decode('utf-8', 'replace')}") is not None

    def decides_to_hit(self, random: Random) -> bool:
        """Count a selected request, and return whether this one is hit."""
        self.seen += 1
        if self.nth and self.seen not in self.nth:
            return False
        if self.share < 1.0 and random.random() >= self.share:
            return False
        self.hits += 1
        return True

    @property
    def is_used_up(self) -> bool:
        """Whether it will never hit a request again."""
        if self.nth and self.seen >= max(self.nth):
            return True
        return self.times is not None and self.hits >= self.times


def _fits(pattern: str, path: str) -> bool:
    if "*" not in pattern:
        return pattern == path
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), path) is not None


class Faults:
    """The faults that are set; the first that hits a request wins."""

    def __init__(self, seed: int) -> None:
        self._faults: list[Fault] = []
        self._random = Random(f"{seed}:faults")  # noqa: S311  reproducible, not secret
        self.hits = 0

    def add(self, given: dict[str, Any]) -> Fault:
        """
        Add a fault described by a JSON object.

        Raises:
            ValueError, TypeError: names the member, the value and what is possible.
        """
        fault = read_fault(given)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def listed(self) -> list[Fault]:
        """The faults that are set."""
        return list(self._faults)

    def next_for(self, request: Request) -> Fault | None:
        """The fault that hits this request, if any."""
        if not self._faults:
            return None
        for fault in self._faults:
            if fault.matches(request) and fault.decides_to_hit(self._random):
                self._faults = [other for other in self._faults if not other.is_used_up]
                self.hits += 1
                return fault
        self._faults = [other for other in self._faults if not other.is_used_up]
        return None


_KINDS: dict[str, type | tuple[type, ...]] = {
    "action": str,
    "when": str,
    "method": str,
    "path": str,
    "match": str,
    "times": int,
    "nth": list,
    "share": (int, float),
    "status": int,
    "body": str,
    "seconds": (int, float),
    "stamp": str,
    "answer": str,
    "changes": dict,
}


def read_fault(given: dict[str, Any]) -> Fault:
    """
    Read a fault from a JSON object.

    Raises:
        ValueError, TypeError: names the member, the value and what is possible.
    """
    known = {name: value for name, value in given.items() if value is not None}
    for name, value in known.items():
        if name not in _KINDS:
            raise ValueError(f"a fault has no {name!r}; it may have {', '.join(_KINDS)}")
        if not isinstance(value, _KINDS[name]) or isinstance(value, bool):
            raise TypeError(f"{name} cannot be {value!r}")
    action = known.get("action")
    if action not in ACTIONS:
        raise ValueError(f"action is {action!r}; possible are {', '.join(ACTIONS)}")
    if action in _AFTER_ONLY:
        known["when"] = "after"
    elif action in _BEFORE_ONLY:
        known["when"] = "before"
    _check_ranges(known)
    return Fault(**known)


def _check_ranges(given: dict[str, Any]) -> None:
    if given.get("when", "before") not in {"before", "after"}:
        raise ValueError(f"when is {given['when']!r}; possible are before, after")
    _check_late(given)
    _check_odd(given)
    if not 0 <= given.get("share", 1.0) <= 1:
        raise ValueError(f"share is {given['share']!r}; it lies between 0 and 1")
    if not 200 <= given.get("status", 500) <= 599:  # noqa: PLR2004  HTTP statuses with a body
        raise ValueError(f"status is {given['status']!r}; it lies between 200 and 599")
    if given.get("times", 1) < 1:
        raise ValueError(f"times is {given['times']!r}; it is a number from 1 on")
    if not 0 <= given.get("seconds", 0) <= LATEST_SECONDS:
        raise ValueError(f"seconds is {given['seconds']!r}; it lies between 0 and {LATEST_SECONDS}")
    if not all(isinstance(number, int) and number > 0 for number in given.get("nth", [])):
        raise ValueError(f"nth is {given['nth']!r}; it lists numbers from 1")
    try:
        re.compile(given.get("match", ""))
    except re.error as error:
        raise ValueError(f"match is not a regular expression: {error}") from None


def _check_late(given: dict[str, Any]) -> None:
    for name, possible in (("stamp", _STAMPS), ("answer", _ANSWERS)):
        if name in given and given["action"] != "late":
            raise ValueError(f"{name} belongs to the action late")
        if given.get(name, possible[0]) not in possible:
            raise ValueError(f"{name} is {given[name]!r}; possible are {', '.join(possible)}")
    if given.get("answer") == "at_once" and given.get("stamp") != "arrival":
        raise ValueError("answer at_once needs stamp arrival: the answer contains times and ids")


def _check_odd(given: dict[str, Any]) -> None:
    changes = given.get("changes", {})
    if ("changes" in given) != (given["action"] == "odd"):
        raise ValueError("changes belongs to the action odd, which needs it")
    if not all(isinstance(attributes, dict) for attributes in changes.values()):
        raise ValueError(f"changes is {changes!r}; it maps ids to objects of attributes")
