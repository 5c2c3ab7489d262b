"""The table of a sweep in the Prefect UI: the customer, the order, the amount, and links."""

from flows.rules.amounts import amount_cell
from flows.rules.dashboard_links import Dashboard
from flows.rules.outside_text import markdown
from flows.rules.references import period_text
from flows.rules.summaries import RenewalLine, RenewalSummary, outcome_in_words

COLUMNS = (
    *("renewal", "outcome", "why", "customer", "order", "amount", "in Commerce Layer", "copy", "next attempt"),
)  # fmt: skip


def table_of(summary: RenewalSummary, dashboard: Dashboard) -> list[dict[str, str]]:
    """Rows for an artifact, worst first, and how many more there were; texts from outside are escaped."""
    rows = [_row(line, dashboard) for line in summary.rows]
    if summary.total > len(rows):
        more = f"and {summary.total - len(rows)} more, none worse than these"
        rows.append({**dict.fromkeys(COLUMNS, ""), "renewal": "…", "why": more})
    return rows


def _row(line: RenewalLine, dashboard: Dashboard) -> dict[str, str]:
    cells = (
        markdown(line.reference or line.subscription_id),
        outcome_in_words(line.outcome),
        markdown(line.sentence),
        markdown(line.customer_email or ""),
        markdown(f"#{line.order_number}" if line.order_number else line.target_order_id or ""),
        markdown(amount_cell(line.amount_cents, line.currency_code)),
        _link(line, dashboard),
        markdown(line.order_copy_id or ""),
        period_text(line.next_attempt_at) if line.next_attempt_at else "",
    )
    return dict(zip(COLUMNS, cells, strict=True))


def _link(line: RenewalLine, dashboard: Dashboard) -> str:
    """The page for staff. Some of Prefect's pages turn a bare address into a link; from others it can be copied."""
    if line.target_order_id is not None:
        return dashboard.order(line.target_order_id)
    return dashboard.subscription(line.subscription_id)
