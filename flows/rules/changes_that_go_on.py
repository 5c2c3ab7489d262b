"""Renewals that are left alone because something changed since a moment ago: once is harmless, for days it is not."""

from datetime import datetime

from flows.rules.renewal import Renewal
from flows.rules.skips import SkipReason
from flows.rules.summaries import RenewalLine
from flows.rules.zones import in_words


def once_it_goes_on(line: RenewalLine, renewal: Renewal, now: datetime) -> RenewalLine:
    """
    The line, which needs a person if such a renewal could have been made for longer than the policy's `stuck_after`.

    Nothing is recorded when something has changed, so only the dates of the period and of its next attempt tell the age
    at `now` (UTC, the shop's clock).
    """
    if line.skip_reason is not SkipReason.CHANGED:
        return line
    since = max(renewal.due, renewal.state.next_attempt_at or renewal.due)
    if now - since < renewal.policy.stuck_after_delay:
        return line
    told = (
        f"{line.sentence}; it is due since {in_words(since, renewal.zone)}: if this recurs, see which system "
        "changes it all the time"
    )
    return line.model_copy(update={"sentence": told, "needs_person": True})
