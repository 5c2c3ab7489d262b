"""The order in which a sweep works on due subscriptions: those that failed before come last and delay no others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from blocks.commerce_layer.resources import OrderSubscription
from flows.rules.renewal import Renewal, Skipped

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DueEntry:
    """A due subscription, and the facts that decide its place in the list (instants are UTC)."""

    subscription_id: str
    source_order_id: str | None
    next_run_at: datetime | None
    due: datetime | None
    was_tried: bool
    touched: datetime | None

    @classmethod
    def of(cls, subscription: OrderSubscription, planned: Renewal | Skipped) -> Self:
        """The entry of a subscription, as it was listed and planned."""
        was_tried = isinstance(planned, Renewal) and planned.state.was_tried
        return cls(
            subscription.id, subscription.source_order_id, subscription.next_run_at, planned.due, was_tried,
            subscription.updated_at,
        )  # fmt: skip

    def rank(self, as_of: datetime, late_after: timedelta) -> tuple[int, datetime]:
        """
        First attempts, then late first attempts, then later attempts: those that were tried longest ago come first.

        The first few must show whether the shop works, and a failing retry does not show that. A late subscription
        without a record may be one that cannot be recorded, so it comes after those that can.
        """
        if not self.was_tried:
            return int(self.due is not None and as_of - self.due >= late_after), _LONG_AGO
        # By the hour: within an hour each run uses its own order.
        return 2, self.touched.replace(minute=0, second=0, microsecond=0) if self.touched else _LONG_AGO


def in_order(
    entries: Sequence[DueEntry], as_of: datetime, late_after: timedelta, shuffle: Callable[[list[DueEntry]], None]
) -> list[DueEntry]:
    """
    The entries in the order in which a sweep works on them.

    `shuffle` orders equal entries differently in each run, so that simultaneous sweeps seldom work on the same one.
    """
    listed = list(entries)
    shuffle(listed)
    return sorted(listed, key=lambda each: each.rank(as_of, late_after))
