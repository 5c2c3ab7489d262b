"""The report of a span in words: its title, its figures for machines, and its Markdown for Prefect's pages."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import time, timedelta
from typing import Any

from blocks.policy import Policy
from flows.rules.amounts import amount_cell
from flows.rules.caps import Charged
from flows.rules.dashboard_links import Dashboard
from flows.rules.outside_text import markdown
from flows.rules.references import reference_of
from flows.rules.renewal_reports import RenewalAtRisk, RenewalReport, Standing, total
from flows.rules.zones import in_words, wall_of

ROWS_SHOWN = 25
"""How many of the renewals that were not recovered are listed, those with the highest amounts first."""

UNKNOWN = (
    "A failed try of the customer at the checkout counts as an attempt: the shop does not tell them apart.",
    "Whether a retry succeeded because of its date, a new card or a call by your staff is not recorded.",
    "Renewals that began more than 62 days before the span are known only if they were renewed in it.",
    "The classes are read from the shop's words with the policy as it is now.",
)
"""What the figures do not say. The page and the Markdown end with it."""


def title(report: RenewalReport) -> str:
    """`1 November to 30 November 2026`, or both instants if they are not whole days."""
    start, end = wall_of(report.span.start, report.zone), wall_of(report.span.end, report.zone)
    if start.time() != time() or end.time() != time():
        return report.span.in_words(report.zone)
    last = end - timedelta(days=1)
    begins = f"{start.day} {start:%B}" + (f" {start.year}" if start.year != last.year else "")
    ends = f"{last.day} {last:%B} {last.year}"
    return ends if start.date() == last.date() else f"{begins} to {ends}"


def amounts(charged: Charged) -> str:
    """`1,225.00 EUR + 12.00 USD`; empty if nothing is known."""
    shown = (amount_cell(cents, currency) for currency, cents in sorted(charged.cents.items()) if cents and currency)
    return " + ".join(shown)


def share(part: int, whole: int) -> str:
    """`85 %`, or empty if there is nothing to compare."""
    return f"{100 * part / whole:.0f} %" if whole else ""


def sentence(report: RenewalReport) -> str:
    """The span in one sentence."""
    renewed, recovered, open_ = len(report.renewed), len(report.recovered), len(report.not_recovered)
    if not renewed and not open_:
        return "no renewal was made or failed"
    return f"{renewed} renewed, {recovered} of them after a failed attempt; {open_} failed and not renewed by the end"


def retries_in_words(policy: Policy, report: RenewalReport) -> list[tuple[str, str]]:
    """For each class of failure that occurred, when the policy tries it again: `("payment", "1d, 3d, 5d, 5d")`."""
    return [(row.cls.value, ", ".join(getattr(policy, f"{row.cls}_retries")) or "not at all") for row in report.classes]


def facts(report: RenewalReport, dashboard: Dashboard) -> dict[str, Any]:
    """Everything, as plain data that JSON can hold; amounts in the smallest unit of each currency."""
    at_risk = total(each.renewal for each in report.at_risk)
    return {
        "organization": dashboard.organization,
        "mode": dashboard.mode,
        "from": report.span.start.isoformat(),
        "to": report.span.end.isoformat(),
        "read_at": report.read_at.isoformat(),
        "sentence": sentence(report),
        "renewed": _data(total(report.renewed)),
        "at_risk": _data(at_risk),
        "recovered": _data(total(each.renewal for each in report.recovered)),
        "recovered_by_retries": _data(report.by_retries),
        "recovered_by_customers": _data(report.by_customers),
        "not_recovered": _data(total(each.renewal for each in report.not_recovered)),
        "cancelled_or_not_paid_since": _data(total(report.lost)),
        "classes": [
            {
                "class": row.cls.value, "at_risk": _data(row.at_risk), "recovered": _data(row.recovered),
                "recovered_by_attempt": {str(number): row.by_attempt[number] for number in sorted(row.by_attempt)},
                "recovered_by_customers": row.by_customer,
                "standing": {each.name.lower(): row.standings[each] for each in Standing if row.standings[each]},
            }
            for row in report.classes
        ],
        "attempts": [
            {"attempt": row.number, "made": row.made, "renewed": _data(row.renewed)} for row in report.attempts
        ],
        "days": [
            {
                "day": row.day.isoformat(), "renewed_at_once": row.first, "recovered": _data(row.recovered),
                "failed_attempts": row.failed, "at_risk": _data(row.at_risk),
            }
            for row in report.days
        ],
    }  # fmt: skip


def markdown_of(report: RenewalReport, dashboard: Dashboard) -> str:
    """The report as Markdown; texts from outside are escaped."""
    return "\n".join(_markdown_lines(report, dashboard)) + "\n"


def _markdown_lines(report: RenewalReport, dashboard: Dashboard) -> Iterator[str]:
    yield f"# Renewals, {title(report)}"
    yield f"\n{markdown(dashboard.organization)} ({dashboard.mode}): **{sentence(report)}**\n"
    at_risk = total(each.renewal for each in report.at_risk)
    yield from _table(
        ("", "renewals", "amount"),
        [
            ("renewed", str(len(report.renewed)), _amounts(total(report.renewed))),
            ("failed at least once", str(at_risk.orders), _amounts(at_risk)),
            ("recovered by retries", str(report.by_retries.orders), _amounts(report.by_retries)),
            ("recovered by customers at the checkout", str(report.by_customers.orders), _amounts(report.by_customers)),
            ("not recovered", str(len(report.not_recovered)), _amounts(total(e.renewal for e in report.not_recovered))),
            ("cancelled or not paid since", str(len(report.lost)), _amounts(total(report.lost))),
        ],
    )
    if report.classes:
        yield "\n## Recovered, by class\n"
        rows = [
            (row.cls.value, str(row.at_risk.orders), str(row.recovered.orders), _amounts(row.recovered))
            for row in report.classes
        ]
        yield from _table(("class", "failed", "recovered", "amount"), rows)
        yield "\n## Attempts\n"
        tries = [
            (str(row.number), str(row.made), str(row.renewed.orders), _amounts(row.renewed)) for row in report.attempts
        ]
        yield from _table(("attempt", "made", "renewed", "amount"), tries)
    if report.not_recovered:
        yield "\n## Not recovered\n"
        shown = [open_row(each, report, dashboard) for each in report.not_recovered[:ROWS_SHOWN]]
        yield from _table(OPEN_COLUMNS, [tuple(map(markdown, row[:-1])) + row[-1:] for row in shown])
        if len(report.not_recovered) > ROWS_SHOWN:
            yield f"\nand {len(report.not_recovered) - ROWS_SHOWN} more"
    yield "\n" + " ".join(UNKNOWN)


OPEN_COLUMNS = ("renewal", "customer", "amount", "why", "attempts", "stands", "in Commerce Layer")
"""The columns of `open_row`."""


def open_row(each: RenewalAtRisk, report: RenewalReport, dashboard: Dashboard) -> tuple[str, ...]:
    """The cells of a renewal that was not recovered; texts from outside are not escaped. The last one is a link."""
    renewal = each.renewal
    order = renewal.last_order
    link = dashboard.order(order.id) if order is not None else dashboard.subscription(renewal.of.subscription_id)
    return (
        reference_of(*renewal.of), (order.customer_email if order is not None else "") or "",
        amount_cell(renewal.price.cents, renewal.price.currency),
        each.failed[-1].failure.in_short if each.failed else each.cls.value, str(len(each.failed)),
        _standing_in_words(each, report), link,
    )  # fmt: skip


def _amounts(charged: Charged) -> str:
    return markdown(amounts(charged))


def _standing_in_words(each: RenewalAtRisk, report: RenewalReport) -> str:
    since = each.renewal.placed_at
    return f"{each.standing} ({in_words(since, report.zone)})" if since is not None else each.standing.value


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' for _ in columns)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _data(charged: Charged) -> dict[str, Any]:
    cents = {currency: charged.cents[currency] for currency in sorted(charged.cents) if currency}
    return {"renewals": charged.orders, "cents": cents}
