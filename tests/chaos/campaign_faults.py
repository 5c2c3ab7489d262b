"""The sandbox faults that a campaign uses, by name."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from blocks.sandbox.running import RunningSandbox

CREATION = {"method": "POST", "path": "/api/order_copies"}
PLACEMENT = {"method": "PATCH", "path": "/api/orders/*", "match": "_place"}
RECORD = {"method": "PATCH", "path": "/api/order_subscriptions/*", "match": "perennial"}
ANY = {"path": "/api/*"}
FAULTS: dict[str, dict[str, Any]] = {
    "creation reset before": {"action": "reset", "when": "before", **CREATION},
    "creation reset after": {"action": "reset", "when": "after", **CREATION},
    "creation 502 before": {"action": "status", "status": 502, "when": "before", **CREATION},
    "creation 502 after": {"action": "status", "status": 502, "when": "after", **CREATION},
    "creation garbled": {"action": "malformed", **CREATION},
    "creation cut short": {"action": "truncate", **CREATION},
    "creation late by 5 s": {"action": "late", "seconds": 5, **CREATION},
    "creation late by 50 s": {"action": "late", "seconds": 50, **CREATION},
    "creation late by 10 min": {"action": "late", "seconds": 600, **CREATION},
    "creation visible after 3 s": {"action": "late", "seconds": 3, "stamp": "arrival", **CREATION},
    "creation refused, 500": {"action": "status", "status": 500, "body": "json", **CREATION},
    "placement reset before": {"action": "reset", "when": "before", **PLACEMENT},
    "placement reset after": {"action": "reset", "when": "after", **PLACEMENT},
    "placement 502 after": {"action": "status", "status": 502, "when": "after", **PLACEMENT},
    "placement late by 5 s": {"action": "late", "seconds": 5, **PLACEMENT},
    "placement late by 50 s": {"action": "late", "seconds": 50, **PLACEMENT},
    "read 503": {"action": "status", "status": 503, "method": "GET", **ANY},
    "read reset": {"action": "reset", "method": "GET", **ANY},
    "read garbled": {"action": "malformed", "method": "GET", **ANY},
    "record lost after": {"action": "reset", "when": "after", "method": "PATCH", **ANY},
    "record 500 before": {"action": "status", "status": 500, "method": "PATCH", **ANY},
    "record late by 40 min": {"action": "late", "seconds": 2400, **RECORD},
    "record late by 110 min": {"action": "late", "seconds": 6600, **RECORD},
    "throttled": {"action": "throttle", **ANY},
    "token revoked": {"action": "revoke", **ANY},
}


class CampaignFaults:
    """Sets random faults, and counts the requests that they hit."""

    def __init__(self, box: RunningSandbox, random: random.Random) -> None:
        self._box, self._random = box, random
        self._armed: list[tuple[str, dict[str, Any], int]] = []
        self.taken_effect: Counter[str] = Counter()
        self.late_until = box.clock()
        """The latest instant at which a delayed request may arrive."""

    def set(self) -> None:
        """Set some faults for the next run."""
        for name in self._random.sample(sorted(FAULTS), self._random.choice([1, 1, 2, 3])):
            nth = sorted(self._random.sample(range(1, 8), self._random.choice([1, 2, 3])))
            if name.startswith("record late"):
                nth = [1, 2, 3, 4] if self._random.random() < 0.5 else nth  # all attempts to write one record
            self._armed.append((name, FAULTS[name], len(nth)))
            self._box.fault(**FAULTS[name], nth=nth)

    def clear(self) -> None:
        """Remove all faults. Delayed requests still arrive."""
        left = {_key(fault): fault["hits"] for fault in self._box.faults()}
        for name, fault, planned in self._armed:
            hits = left.get(_key(fault), planned)  # a fault that has hit as often as planned is not listed
            self.taken_effect[name] += hits
            if fault["action"] == "late" and hits:
                self._note_late(self._box.clock() + timedelta(seconds=fault["seconds"]))
        self._armed = []
        self._box.clear_faults()

    def _note_late(self, until: datetime) -> None:
        self.late_until = max(self.late_until, until)


def _key(fault: dict[str, Any]) -> tuple[Any, ...]:
    defaults = {"when": "before", "method": "*", "status": 500, "seconds": 0, "body": "html", "stamp": "commit"}
    if fault["action"] in {"truncate", "malformed"}:
        defaults["when"] = "after"
    return tuple(
        fault.get(name, defaults.get(name))
        for name in ("action", "when", "method", "path", "status", "seconds", "stamp")
    )
