"""
The references of order copies: by them, every run finds the copies that any run has made for a period.

Commerce Layer has no idempotency key and does not keep references unique, so the reference must follow from the
subscription and the period alone. All copies of one period have the same one, no matter which run made them.
"""

import re
from datetime import UTC, datetime
from typing import NamedTuple

REFERENCE_ORIGIN = "perennial"

_PERIOD = "%Y-%m-%dT%H:%MZ"
_REFERENCE = re.compile(r"([^@#\s]+)@(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}Z)(?:#(?:[2-9]|[1-9]\d{1,5}))?", re.ASCII)


class Reference(NamedTuple):
    """What a reference says: the subscription, and the period's due instant (UTC, whole minutes)."""

    subscription_id: str
    due: datetime


def whole_minute(instant: datetime) -> datetime:
    """The instant in UTC with seconds cut off. Raises ValueError when it has no time zone."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone: pass an aware datetime, such as one in UTC")
    try:
        moment = instant.astimezone(UTC)
    except OverflowError:  # in the first or last hours of the calendar
        moment = instant.replace(tzinfo=UTC)
    return moment.replace(second=0, microsecond=0)


def period_text(due: datetime) -> str:
    """A due instant as it is written in references, e.g. `2026-03-01T06:00Z`."""
    # Not strftime alone: its %Y drops leading zeros on some systems.
    moment = whole_minute(due)
    return f"{moment.year:04d}{moment:-%m-%dT%H:%MZ}"


def reference_of(subscription_id: str, due: datetime) -> str:
    """The reference of every order copy of a period: `{id}@{due}`."""
    if not subscription_id or re.search(r"[@#\s]", subscription_id):
        raise ValueError(f"{subscription_id!r} cannot be part of a reference: it must be an id without @, # or spaces")
    return f"{subscription_id}@{period_text(due)}"


def numbered_reference(subscription_id: str, due: datetime, number: int) -> str:
    """The reference that version 0.1 gave to the second and each later copy of a period: `{id}@{due}#2`."""
    return f"{reference_of(subscription_id, due)}#{number}"


def parse_reference(text: str | None) -> Reference | None:
    """What a renewal's reference says, also one that ends in `#2` as in version 0.1; None for every other text."""
    found = _REFERENCE.fullmatch(text or "")
    if not found:
        return None
    try:
        due = datetime.strptime(found[2], _PERIOD).replace(tzinfo=UTC)
    except ValueError:
        return None
    # A year such as 0000 is no date, and a text that differs from what we write is not ours.
    return Reference(found[1], due) if period_text(due) == found[2] else None


def manual_reference(source_order_id: str, flow_run_id: str) -> str:
    """The reference of a copy made by hand, without a subscription: one per order and flow run."""
    return f"{source_order_id}@{flow_run_id}"
