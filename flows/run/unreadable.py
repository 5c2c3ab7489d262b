"""What a report says of a subscription that Commerce Layer does not show."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from flows.rules.skips import Skipped, SkipReason
from flows.rules.summaries import RenewalLine
from flows.rules.zones import in_words
from flows.run.context import Run


def unreadable_line(subscription_id: str, due: datetime | None, error: Exception, run: Run) -> RenewalLine:
    """
    The line of a subscription that was due at `due` (UTC, if that is known) and could not be read because of `error`.

    The next sweep tries again. Once it is due for longer than the policy's `stuck_after`, a person must look.
    """
    line = RenewalLine.of(Skipped(subscription_id, due, SkipReason.NOT_READABLE, str(error)))
    if due is None or run.as_of - due < run.policy.stuck_after_delay:
        return line
    since = in_words(due, ZoneInfo(run.policy.time_zone))
    told = f"it cannot be read, and is due since {since}: tell Commerce Layer's support ({error})"
    return line.model_copy(update={"sentence": told, "needs_person": True})
