"""The open failures of a shop: in one sentence, as a table, as rows for a spreadsheet, and as data for machines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flows.rules.amounts import amount_cell, money, plain_amount
from flows.rules.dashboard_links import Dashboard
from flows.rules.open_failures import Awaited, OpenFailure
from flows.rules.outside_text import markdown
from flows.rules.references import period_text

ROWS_SHOWN = 200
"""How many rows the table has; the sentence counts all failures."""

SPREADSHEET_COLUMNS = (
    *("customer_email", "subscription_id", "amount", "currency", "class", "said_by_the_shop", "attempts"),
    *("attempts_allowed", "next_attempt_at", "waits_for", "what_to_do", "open_since", "order_number"),
    *("subscription_link", "order_link"),
)


@dataclass(frozen=True, slots=True)
class OpenFailureReport:
    """All open failures of a shop at `as_of` (UTC), in the order of `worst_first`."""

    as_of: datetime
    dashboard: Dashboard
    failures: Sequence[OpenFailure]

    @property
    def for_a_person(self) -> int:
        """How many wait for a person."""
        return sum(each.awaits is Awaited.A_PERSON for each in self.failures)

    @property
    def sentence(self) -> str:
        """`3 open failures: 1 waits for a person, 2 wait for their next attempt; 240.00 EUR at stake`."""
        if not self.failures:
            return "no failure is open"
        counts = Counter(each.awaits for each in self.failures)
        parts = [_waiting(count, awaits) for awaits, count in sorted(counts.items())]
        many = len(self.failures)
        return f"{many} open failure{'' if many == 1 else 's'}: {', '.join(parts)}{self._at_stake()}"

    @property
    def facts(self) -> dict[str, Any]:
        """Everything, as plain data that JSON can hold."""
        return {
            "organization": self.dashboard.organization,
            "mode": self.dashboard.mode,
            "as_of": self.as_of.isoformat(),
            "sentence": self.sentence,
            "open_failures": [self._as_data(each) for each in self.failures],
        }

    @property
    def table_rows(self) -> list[dict[str, str]]:
        """Rows for an artifact; texts from outside are escaped."""
        rows = [self._row(each) for each in self.failures[:ROWS_SHOWN]]
        if len(self.failures) > ROWS_SHOWN:
            more = f"and {len(self.failures) - ROWS_SHOWN} more: `perennial failed` lists all"
            rows.append({**dict.fromkeys(rows[0], ""), "customer": "…", "what to do": more})
        return rows

    @property
    def spreadsheet_rows(self) -> list[dict[str, str]]:
        """A cell for each of `SPREADSHEET_COLUMNS`, for each failure."""
        return [dict(zip(SPREADSHEET_COLUMNS, self._spreadsheet_row(each), strict=True)) for each in self.failures]

    def link(self, failure: OpenFailure) -> str:
        """Where staff act on it: the page of its subscription."""
        return self.dashboard.subscription(failure.subscription_id)

    def _order_link(self, failure: OpenFailure) -> str:
        return self.dashboard.order(failure.order_id) if failure.order_id else ""

    def _at_stake(self) -> str:
        totals: Counter[str | None] = Counter()
        for each in self.failures:
            if each.amount_cents is not None:
                totals[each.currency_code] += each.amount_cents
        amounts = ", ".join(money(cents, currency) for currency, cents in totals.most_common())
        return f"; {amounts} at stake" if amounts else ""

    def _row(self, failure: OpenFailure) -> dict[str, str]:
        return {
            "customer": markdown(failure.customer_email or ""),
            "subscription": markdown(failure.subscription_id),
            "amount": markdown(amount_cell(failure.amount_cents, failure.currency_code)),
            "class": markdown(failure.failure_class),
            "said by the shop": markdown(failure.said),
            "attempts": attempts_cell(failure),
            "what to do": markdown(failure.what_to_do),
            "since": _instant_text(failure.since),
            "in Commerce Layer": self.link(failure),
        }

    def _as_data(self, failure: OpenFailure) -> dict[str, str | int | None]:
        return {
            "subscription_id": failure.subscription_id,
            "customer_email": failure.customer_email,
            "amount_cents": failure.amount_cents,
            "currency_code": failure.currency_code,
            "class": failure.failure_class,
            "said_by_the_shop": failure.said,
            "attempts": failure.attempts,
            "attempts_allowed": failure.attempts_allowed,
            "next_attempt_at": failure.next_attempt_at.isoformat() if failure.next_attempt_at else None,
            "waits_for": failure.awaits.in_words,
            "what_to_do": failure.what_to_do,
            "open_since": failure.since.isoformat() if failure.since else None,
            "order_id": failure.order_id,
            "order_number": failure.order_number,
            "subscription_link": self.link(failure),
            "order_link": self._order_link(failure) or None,
        }

    def _spreadsheet_row(self, failure: OpenFailure) -> list[str]:
        return [
            failure.customer_email or "", failure.subscription_id,
            plain_amount(failure.amount_cents, failure.currency_code), failure.currency_code or "",
            failure.failure_class, failure.said, str(failure.attempts), str(failure.attempts_allowed or ""),
            _instant_text(failure.next_attempt_at), failure.awaits.in_words, failure.what_to_do,
            _instant_text(failure.since), failure.order_number or "", self.link(failure), self._order_link(failure),
        ]  # fmt: skip


def attempts_cell(failure: OpenFailure) -> str:
    """`2 of 5`, or `2` where no further attempt is planned; empty where none was made."""
    if not failure.attempts:
        return ""
    return f"{failure.attempts} of {failure.attempts_allowed}" if failure.attempts_allowed else str(failure.attempts)


def _instant_text(instant: datetime | None) -> str:
    return period_text(instant) if instant else ""


def _waiting(count: int, awaits: Awaited) -> str:
    what = "their next attempt" if awaits is Awaited.ITS_NEXT_ATTEMPT and count > 1 else awaits.in_words
    return f"{count} {'waits' if count == 1 else 'wait'} for {what}"
