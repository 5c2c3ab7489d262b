import pytest
from rules.making import at, copy, order, planned, subscription

from blocks.commerce_layer.errors import ReadFailed
from flows.rules.amounts import amount_cell
from flows.rules.dashboard_links import Dashboard
from flows.rules.findings import CopyEnded, NotCreated, OrderAnswered
from flows.rules.next_action import Place
from flows.rules.outcomes import result_of
from flows.rules.shown_orders import with_its_order
from flows.rules.summaries import RenewalLine, RenewalSummary
from flows.rules.summary_tables import COLUMNS, table_of

NOW = at("2026-03-01T06:10")
REF = "SubAbcdefg@2026-03-01T06:00Z"
DASHBOARD = Dashboard("acme", "live")


def row_of(finding, **fields):
    renewal = planned(subscription(customer_email="jane@example.com", **fields))
    line = with_its_order(RenewalLine.of(result_of(renewal, finding, NOW)), renewal, finding)
    (row,) = table_of(RenewalSummary.of([line], NOW), DASHBOARD)
    assert tuple(row) == COLUMNS
    return row


@pytest.mark.parametrize(
    ("cents", "currency", "words"),
    [
        (2500, "EUR", "25.00 EUR"),
        (5, "usd", "0.05 USD"),
        (2500, "JPY", "2,500 JPY"),
        (123456, "EUR", "1,234.56 EUR"),
        (2500, "KWD", "2.500 KWD"),
        (2500, None, "25.00"),
        (0, "EUR", "0.00 EUR"),
        (None, "EUR", ""),
    ],
)
def test_an_amount_is_written_in_the_units_of_its_currency(cents, currency, words):
    assert amount_cell(cents, currency) == words


def test_a_row_names_the_customer_the_order_and_the_amount_and_links_to_the_order():
    placed = order(total_amount_with_taxes_cents=2500, currency_code="EUR", customer_email="jane@example.org")
    row = row_of(OrderAnswered(Place(copy(REF, "completed", order("pending")), order("pending"), 1), placed))
    assert (row["customer"], row["order"], row["amount"]) == ("jane@example.org", "#1001", "25.00 EUR")
    assert row["in Commerce Layer"] == "https://dashboard.commercelayer.io/live/acme/apps/orders/list/TgtAbcdefg"


def test_a_row_without_an_order_links_to_the_subscription():
    row = row_of(NotCreated(ReadFailed("/api/order_copies", "timeout")))
    assert (row["customer"], row["order"], row["amount"]) == ("jane@example.com", "", "")
    assert row["in Commerce Layer"] == "https://dashboard.commercelayer.io/live/acme/apps/subscriptions/list/SubAbcdefg"


def test_text_from_customers_and_gateways_is_escaped():
    refused = order("pending", number="1](http://evil)", customer_email="<b>@x", currency_code="<i>",
                    total_amount_with_taxes_cents=1)  # fmt: skip
    row = row_of(CopyEnded(copy(REF, "failed", refused, errors_log={"base": ["[pay](http://evil.example)"]})))
    assert row["customer"] == "&lt;b&gt;@x"
    assert row["order"] == r"#1\](http\://evil)"
    assert row["amount"] == "0.01 &lt;I&gt;"
    assert "](http://" not in row["why"]


def test_an_id_cannot_make_a_link_leave_the_dashboard():
    assert DASHBOARD.order("../../x?y#z") == (
        "https://dashboard.commercelayer.io/live/acme/apps/orders/list/..%2F..%2Fx%3Fy%23z"
    )
