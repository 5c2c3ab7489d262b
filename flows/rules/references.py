"""
The names of order copies: how a renewal finds what it already made.

Commerce Layer has no idempotency key and does not keep references unique, so the name
must follow from the work alone: the same period always asks for the same reference.
"""

import hashlib
import re
from datetime import UTC, datetime
from typing import NamedTuple

REFERENCE_ORIGIN = "perennial"
SHARDS = 16
"""How many writers there may be at a time. A constant: changing it mid-sweep would let two hold the same key."""

_PERIOD = "%Y-%m-%dT%H:%MZ"
_REFERENCE = re.compile(r"([^@#\s]+)@(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}Z)(?:#([1-9]\d{0,5}))?", re.ASCII)


class Reference(NamedTuple):
    """What a reference says: whose renewal, of which period (UTC, whole minutes), and which copy of it (from 1)."""

    subscription_id: str
    due: datetime
    copy: int


def whole_minute(instant: datetime) -> datetime:
    """The instant in UTC with seconds cut off. Raises ValueError when it has no time zone."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone: pass an aware datetime, such as one in UTC")
    return instant.astimezone(UTC).replace(second=0, microsecond=0)


def period_text(due: datetime) -> str:
    """A due instant as it is written in references, e.g. `2026-03-01T06:00Z`."""
    # Not strftime alone: its %Y drops leading zeros on some systems.
    moment = whole_minute(due)
    return f"{moment.year:04d}{moment:-%m-%dT%H:%MZ}"


def reference_of(subscription_id: str, due: datetime, copy: int = 1) -> str:
    """The reference of a period's copy number `copy`: `{id}@{due}`, and `#2`, `#3`, ... after the first."""
    if copy < 1:
        raise ValueError(f"copy is {copy}, but copies are counted from 1")
    if not subscription_id or re.search(r"[@#\s]", subscription_id):
        raise ValueError(f"{subscription_id!r} cannot be part of a reference: it must be an id without @, # or spaces")
    number = f"#{copy}" if copy > 1 else ""
    return f"{subscription_id}@{period_text(due)}{number}"


def parse_reference(text: str | None) -> Reference | None:
    """What a reference made by `reference_of` says; None for every other text."""
    found = _REFERENCE.fullmatch(text or "")
    if not found:
        return None
    try:
        due = datetime.strptime(found[2], _PERIOD).replace(tzinfo=UTC)
    except ValueError:
        return None
    reference = Reference(found[1], due, int(found[3] or 1))
    # `#1` is never written: accepting it would give one copy two names.
    return reference if reference_of(*reference) == text else None


def manual_reference(source_order_id: str, flow_run_id: str) -> str:
    """The reference of a copy made by hand, without a subscription: one per order and flow run."""
    return f"{source_order_id}@{flow_run_id}"


def shard_of(key: str, shards: int = SHARDS) -> int:
    """The shard, 0 to `shards` - 1, that writes for a key; the same in every process and on every Python."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % shards
