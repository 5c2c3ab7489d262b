"""What one run did, as data for machines, with links for staff."""

from typing import Any

from flows.rules.dashboard_links import Dashboard
from flows.rules.incidents import Incident, OrderOfRun, RecordedSubscription
from flows.rules.references import period_text


def facts_of(incident: Incident, dashboard: Dashboard) -> dict[str, Any]:
    """Everything, as plain data that JSON can hold."""
    return {
        "organization": dashboard.organization,
        "mode": dashboard.mode,
        "flow_run_ids": sorted(incident.flow_run_ids),
        "sentence": incident.sentence,
        "charged_cents": {currency or "": cents for currency, cents in incident.charged.items()},
        "orders": [_order(each, dashboard) for each in incident.all_orders],
        "subscriptions": [_subscription(each, dashboard) for each in incident.recorded],
    }


def link_of(one: OrderOfRun, dashboard: Dashboard) -> str:
    """The page of its order; of its subscription where there is no order."""
    if one.order_id is not None:
        return dashboard.order(one.order_id)
    return dashboard.subscription(one.period.subscription_id) if one.period else ""


def _order(one: OrderOfRun, dashboard: Dashboard) -> dict[str, Any]:
    order = one.order
    return {
        "standing": one.standing.value,
        "sentence": one.sentence,
        "subscription_id": one.period.subscription_id if one.period else None,
        "period": period_text(one.period.due) if one.period else None,
        "reference": one.reference,
        "order_copy_id": one.copy.id if one.copy else None,
        "order_id": one.order_id,
        "order_number": order.number if order else None,
        "customer_email": order.customer_email if order else None,
        "amount_cents": order.total_amount_with_taxes_cents if order else None,
        "currency_code": order.currency_code if order else None,
        "payment_status": order.payment_status.value if order else None,
        "placed_at": order.placed_at.isoformat() if order and order.placed_at else None,
        "can_be_withdrawn": one.can_be_withdrawn,
        "link": link_of(one, dashboard),
    }


def _subscription(recorded: RecordedSubscription, dashboard: Dashboard) -> dict[str, Any]:
    one, state = recorded.subscription, recorded.state
    return {
        "subscription_id": one.id,
        "customer_email": one.customer_email,
        "is_recorded_by_this_run": recorded.is_by_this_run,
        "outcome": state.outcome.value if recorded.is_by_this_run and state and state.outcome else None,
        "period": period_text(state.period) if recorded.is_by_this_run and state and state.period else None,
        "next_run_at": one.next_run_at.isoformat() if one.next_run_at else None,
        "sentence": recorded.sentence,
        "link": dashboard.subscription(one.id),
    }
