"""The sandbox faults of a large campaign, and which of them a round meets."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from random import Random
from typing import Any

from chaos.campaign_faults import ANY, CREATION, FAULTS, PLACEMENT, RECORD

from blocks.sandbox.running import RunningSandbox

KINDS: dict[str, dict[str, Any]] = {
    **FAULTS,
    "creation answered at once, visible after 2 s": {
        "action": "late", "seconds": 2, "stamp": "arrival", "answer": "at_once", **CREATION,
    },
    "placement cut short": {"action": "truncate", **PLACEMENT},
    "placement garbled": {"action": "malformed", **PLACEMENT},
    "placement 503 before": {"action": "status", "status": 503, **PLACEMENT},
    "placement closed after": {"action": "close", "when": "after", **PLACEMENT},
    "record garbled": {"action": "malformed", **RECORD},
    "record late by 50 s": {"action": "late", "seconds": 50, **RECORD},
    "read cut short": {"action": "truncate", "method": "GET", **ANY},
}  # fmt: skip
"""Those of the smaller campaign and some more, by name. Each hits a share of the requests that it selects."""

VISIBLE_LATE = 3.0
"""Seconds by which the latest of them can be read after its `created_at`: `creation visible after 3 s`."""

LATEST = timedelta(seconds=max(kind.get("seconds", 0) for kind in KINDS.values()))
"""The longest time for which a request is on its way."""

READS = 0.08
"""The largest share of reads that one kind hits: more would fail each sweep before it does anything."""

WRITES = 0.2
"""The largest share of the writes that one kind hits."""


class FleetFaults:
    """Sets faults by lot for each round, and counts the requests that they hit."""

    def __init__(self, box: RunningSandbox, chance: Random) -> None:
        self._box, self._chance = box, chance
        self._set: list[str] = []
        self.hits: Counter[str] = Counter()
        self.late_until = box.clock()
        """The latest instant at which a delayed request may arrive."""

    def set(self) -> None:
        """Set some faults: none in every third round, a few in most, many in some."""
        count = self._chance.choice([0, 0, 2, 4, 6, 12])
        self._set = self._chance.sample(sorted(KINDS), count)
        for name in self._set:
            kind = KINDS[name]
            largest = READS if kind.get("method") == "GET" or kind["path"] == ANY["path"] else WRITES
            self._box.fault(**kind, share=self._chance.uniform(0.02, largest))

    def clear(self) -> None:
        """Remove all faults. Delayed requests still arrive."""
        for name, fault in zip(self._set, self._box.faults(), strict=True):
            self.hits[name] += fault["hits"]
            if fault["action"] == "late" and fault["hits"]:
                until: datetime = self._box.clock() + timedelta(seconds=fault["seconds"])
                self.late_until = max(self.late_until, until)
        self._set = []
        self._box.clear_faults()
