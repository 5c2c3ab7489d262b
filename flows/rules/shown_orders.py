"""What a report shows about a renewal's order: its number, its amount, and its customer."""

from blocks.commerce_layer.resources import Order
from flows.rules.findings import CopyEnded, Finding, LeftAlone, NotPlaced, OrderAnswered, PlacementRefused, StillRunning
from flows.rules.renewal import Renewal
from flows.rules.summaries import RenewalLine


def with_its_order(line: RenewalLine, renewal: Renewal, finding: Finding | LeftAlone) -> RenewalLine:
    """The line with the renewal's customer, and with the order in the finding, if there is one."""
    order = _order_in(finding)
    shown: dict[str, object] = {"customer_email": renewal.customer_email}
    if order is not None:
        shown |= {
            "customer_email": order.customer_email or renewal.customer_email,
            "order_number": order.number,
            "amount_cents": order.total_amount_with_taxes_cents,
            "currency_code": order.currency_code,
        }
    return line.model_copy(update=shown)


def _order_in(finding: Finding | LeftAlone) -> Order | None:
    match finding:
        case OrderAnswered(_, order):
            return order
        case PlacementRefused(attempt, _, order):
            return order or attempt.order
        case NotPlaced(attempt, _):
            return attempt.order
        case CopyEnded(copy) | StillRunning(copy):
            return copy.target_order
    return None
