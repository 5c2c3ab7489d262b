"""What one run did, read from the copies, orders and subscriptions that carry its id."""

import pytest
from rules.making import copy, order, subscription

from flows.rules.dashboard_links import Dashboard
from flows.rules.incident_reports import facts_of
from flows.rules.incidents import Incident, Standing

RUN, BATCH, OTHER = "run-1", "batch-1", "run-2"
REFERENCE = "SubAbcdefg@2026-03-01T06:00Z"


def by(run, parent=None):
    return {"perennial": {"flow_run_id": run, **({"parent_flow_run_id": parent} if parent else {})}}


def incident(*copies, orders=(), subscriptions=(), ids=(RUN,)):
    orders = [*(each.target_order for each in copies if each.target_order), *orders]
    return Incident(
        ids, {each.id: each for each in copies}, {each.id: each for each in orders},
        {each.id: each for each in subscriptions},
    )  # fmt: skip


def standing(target, *, made_by=RUN, **fields):
    (one,) = incident(copy(REFERENCE, target=target, metadata=by(made_by), **fields)).all_orders
    return one.standing, one.can_be_withdrawn


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (order("placed", metadata=by(RUN)), (Standing.PLACED, False)),
        (order("approved", metadata=by(RUN)), (Standing.PLACED, False)),
        (order("placed", metadata=by(OTHER)), (Standing.PLACED_BY_OTHERS, False)),
        (order("placed"), (Standing.PLACED_BY_OTHERS, False)),
        (order("pending"), (Standing.UNPLACED, True)),
        (order("draft"), (Standing.UNPLACED, True)),
        (order("placing"), (Standing.UNDECIDED, False)),
        (order("editing"), (Standing.UNDECIDED, False)),
        (order("a new status"), (Standing.UNDECIDED, False)),
        (order("cancelled"), (Standing.CANCELLED, False)),
        (None, (Standing.WITHOUT_ORDER, False)),
    ],
)
def test_only_an_order_that_is_not_placed_and_cannot_be_in_a_moment_can_be_withdrawn(target, expected):
    assert standing(target) == expected


def test_an_order_is_withdrawn_only_by_the_incident_of_the_run_that_made_its_copy():
    assert standing(order("pending"), made_by=OTHER) == (Standing.UNPLACED, False)
    assert standing(order("pending"), reference_origin="crm") == (Standing.UNPLACED, False)
    assert incident(orders=[order("pending", metadata=by(RUN))]).unplaced == []


def test_a_batch_belongs_to_the_incident_of_its_sweep():
    one = copy(REFERENCE, target=order("pending"), metadata=by(BATCH, parent=RUN))
    assert len(incident(one).unplaced) == 1


def test_an_order_whose_copy_another_run_made_is_listed_once():
    found = incident(orders=[order("placed", metadata={**by(RUN)}, reference=REFERENCE)])
    assert [(each.standing, each.period.subscription_id) for each in found.all_orders] == [
        (Standing.PLACED, "SubAbcdefg")
    ]


def test_the_amounts_of_the_placed_orders_are_added_up_by_currency():
    def placed(number, cents, currency):
        money = {"total_amount_with_taxes_cents": cents, "currency_code": currency}
        return order("placed", id=f"TgtAbcdef{number}", metadata=by(RUN), **money)

    found = incident(orders=[placed("a", 1000, "EUR"), placed("b", 250, "EUR"), placed("c", 500, "JPY")])
    assert found.charged == {"EUR": 1250, "JPY": 500}
    assert found.sentence == "0 order copies made; 3 orders placed (12.50 EUR, 500 JPY); 0 subscriptions recorded"


def test_an_incident_of_nothing_says_so():
    assert incident().is_empty
    assert incident().sentence == "it made no order copy, placed no order and recorded no subscription"


DONE = {"period": "2026-03-01T06:00Z", "done_through": "2026-03-01T06:00Z", "outcome": "renewed", "flow_run_id": RUN}


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (DONE, "renewed; its date was moved on from the period of 2026-03-01 06:00 UTC: "),
        (
            {**DONE, "done_through": None, "outcome": "retry_scheduled"},
            "retry scheduled; its date was not moved: ",
        ),
        (
            {**DONE, "flow_run_id": OTHER},
            "run run-2 has written it since: what this run wrote is not known; ",
        ),
        ({}, "something else has written it since: what this run wrote is not known; "),
    ],
)
def test_a_date_is_told_as_far_as_it_can_be_known(state, sentence):
    one = subscription(state, next_run_at="2026-04-01T06:00:00Z")
    (recorded,) = incident(subscriptions=[one]).recorded
    assert recorded.sentence == f"{sentence}next_run_at is 2026-04-01 06:00 UTC now"
    assert recorded.is_by_this_run == (state.get("flow_run_id") == RUN)


def test_the_facts_link_each_order_and_subscription():
    one = copy(REFERENCE, target=order("cancelled", metadata={"perennial": {"withdrawn": "undone"}}), metadata=by(RUN))
    failed = copy(REFERENCE + "#2", "failed", metadata=by(RUN))
    facts = facts_of(incident(one, failed, subscriptions=[subscription(DONE)]), Dashboard("acme", "live"))
    assert [(each["standing"], each["sentence"], each["link"].rpartition("apps/")[2]) for each in facts["orders"]] == [
        ("cancelled", "cancelled (undone)", "orders/list/TgtAbcdefg"),
        ("without an order", "the order copy is failed, and has no order", "subscriptions/list/SubAbcdefg"),
    ]
    assert facts["subscriptions"][0]["link"].endswith("/subscriptions/list/SubAbcdefg")
    assert facts["subscriptions"][0]["period"] == "2026-03-01T06:00Z"
