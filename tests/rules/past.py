"""Renewals of March 2026 as the shop's records show them."""

from rules.making import at, copy, order

from blocks.commerce_layer.resource_errors import ResourceError
from flows.rules.dashboard_links import Dashboard
from flows.rules.history import PastRenewal, past_renewals
from flows.rules.spans import Span

MARCH = Span(at("2026-03-01"), at("2026-04-01"))
NOW = at("2026-04-05")
SHOP = Dashboard("your-shop", "live")
DECLINED = "Your card was declined"


def past(
    number: int, *failed: str, placed: str | None = None, cents: int = 1000, currency: str = "EUR", words=DECLINED,
    by_customer: bool = False, **fields,
) -> PastRenewal:  # fmt: skip
    """The renewal of subscription `Sub{number}`, with its failed attempts and the instant at which it was renewed."""
    ours = {} if by_customer or placed is None else {"perennial": {"subscription_id": f"Sub{number}"}}
    given = {
        "id": f"Ord{number}", "total_amount_with_taxes_cents": cents, "currency_code": currency, "metadata": ours,
        "placed_at": None if placed is None else f"{placed}Z", **fields,
    }  # fmt: skip
    made = order("pending" if placed is None else "placed", **given)
    only = copy(f"Sub{number}@2026-03-01T06:00Z", target=made)
    told = [ResourceError(name="payment_source", message=words, created_at=at(moment)) for moment in failed]
    return next(iter(past_renewals([only], {made.id: told}).values()))
