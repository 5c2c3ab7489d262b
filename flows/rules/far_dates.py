"""
Dates that no calendar can reach: `9999-12-31`, which shops write for "never", and year 1, which is a typing error.

Such a date stops only its own subscription.
"""

from datetime import datetime

from blocks.commerce_layer.resources import OrderSubscription

FIRST_YEAR, LAST_YEAR = 1970, 2999
"""The first and the last year of dates that are calculated."""


def is_never(instant: datetime) -> bool:
    """Whether an instant is so late that it means "never"."""
    return instant.year > LAST_YEAR


def end_of(subscription: OrderSubscription) -> datetime | None:
    """When the subscription ends; None for never, which some shops write as `9999-12-31`."""
    ends = subscription.expires_at
    return None if ends is None or is_never(ends) else ends


def never_due(subscription: OrderSubscription) -> str | None:
    """A sentence that its `next_run_at` means "never"; None when it does not."""
    date = subscription.next_run_at
    if date is None or not is_never(date):
        return None
    return f"its next_run_at is {date.date().isoformat()}, which means never: set another one to have it renewed"


def unusable_date(subscription: OrderSubscription) -> str | None:
    """Which of its dates is unusable for a calendar, and how to fix it; None when all are usable."""
    for name in ("starts_at", "next_run_at"):
        instant: datetime | None = getattr(subscription, name)
        if instant is not None and not FIRST_YEAR <= instant.year <= LAST_YEAR:
            return (
                f"its {name} is {instant.date().isoformat()}, but a calendar is counted in the years {FIRST_YEAR} to "
                f"{LAST_YEAR}: correct it"
            )
    return None
