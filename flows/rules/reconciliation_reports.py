"""What a reconciliation found: in one sentence, as rows of a table or a file, and as data for machines."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flows.rules.dashboard_links import Dashboard
from flows.rules.price import Price
from flows.rules.reconciling import Match, ReconciledPeriod
from flows.rules.references import period_text
from flows.rules.spans import Span

COLUMNS = (
    *("subscription_id", "customer_email", "period", "match", "explained", "orders", "order_ids"),
    *("amount_cents", "currency", "expected_cents", "sentence", "link"),
)
"""The columns of `rows`."""

Cell = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """
    All periods of a span, oldest first, as they were at `as_of` (UTC).

    `unreadable`: subscriptions that Commerce Layer could not show, with its answer. `reads`: the requests that it took.
    """

    span: Span
    as_of: datetime
    dashboard: Dashboard
    periods: Sequence[ReconciledPeriod]
    unreadable: Mapping[str, str]
    reads: int

    @property
    def needs_person(self) -> bool:
        """Whether something is unexplained, or could not be read."""
        return bool(self.unreadable) or any(each.is_unexplained for each in self.periods)

    @property
    def mismatches(self) -> list[ReconciledPeriod]:
        """The periods that were not simply renewed once: the unexplained first, and the worst first among them."""
        order = list(Match)
        odd = [each for each in self.periods if each.match is not Match.ONCE]
        return sorted(odd, key=lambda each: (each.is_explained, order.index(each.match), each.place))

    @property
    def counts(self) -> dict[str, int]:
        """How many periods match in which way; those that do not occur are left out."""
        counted = Counter(each.match for each in self.periods)
        return {match.value: counted[match] for match in reversed(Match) if counted[match]}

    @property
    def sentence(self) -> str:
        """`10,000 periods, 9,981 renewed once, 19 explained, 0 unexplained`."""
        unexplained = sum(each.is_unexplained for each in self.periods)
        once = self.counts.get(Match.ONCE.value, 0)
        explained = len(self.periods) - once - unexplained
        plural = "" if len(self.periods) == 1 else "s"
        sentence = (
            f"{len(self.periods):,} period{plural}, {once:,} renewed once, {explained:,} explained, "
            f"{unexplained:,} unexplained"
        )
        if not self.unreadable:
            return sentence
        subscriptions = "subscription" if len(self.unreadable) == 1 else "subscriptions"
        named = ", ".join(sorted(self.unreadable))
        return f"{sentence}; {len(self.unreadable):,} {subscriptions} cannot be read: {named}"

    @property
    def facts(self) -> dict[str, object]:
        """Everything but the periods that match, as plain data that JSON can hold."""
        return {
            "organization": self.dashboard.organization,
            "mode": self.dashboard.mode,
            "from": self.span.start.isoformat(),
            "to": self.span.end.isoformat(),
            "as_of": self.as_of.isoformat(),
            "sentence": self.sentence,
            "periods": len(self.periods),
            "counts": self.counts,
            "unexplained": sum(each.is_unexplained for each in self.periods),
            "unreadable": dict(self.unreadable),
            "reads": self.reads,
            "mismatches": [self._row(each) for each in self.mismatches],
        }

    def rows(self) -> Iterator[dict[str, Cell]]:
        """A row for every period, with `COLUMNS`. Texts from outside are as they are."""
        return map(self._row, self.periods)

    def _row(self, period: ReconciledPeriod) -> dict[str, Cell]:
        price = Price.of(period.orders[0]) if period.orders else None
        orders = [each.id for each in period.orders]
        link = self.dashboard.order(orders[0]) if orders else self.dashboard.subscription(period.subscription_id)
        values: tuple[Cell, ...] = (
            period.subscription_id, period.email, period_text(period.due),
            period.match.value, not period.is_unexplained,
            " ".join(each.shown_number for each in period.orders), " ".join(orders),
            price.cents if price else None, price.currency if price else None,
            period.expected.cents if period.expected else None, period.sentence, link,
        )  # fmt: skip
        return dict(zip(COLUMNS, values, strict=True))
