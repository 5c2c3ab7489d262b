"""Which card of the wallet an order is paid with under each setting, and which failures belong to a card."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from blocks.sandbox.running import RunningSandbox, SandboxFailed

FROZEN = ("--limits", "off", "--frozen", "--clock", "2026-03-01T06:00:00Z")
ORDER, SUBSCRIPTION, NEWEST = "the source order's", "the subscription's", "the newest"


@pytest.fixture
def shop_with(make_caller):
    """Start a sandbox with these options, and make a caller for it."""
    started = []

    def start(*options):
        running = RunningSandbox(*FROZEN, *options).start()
        started.append(running)
        return running, make_caller(running)

    yield start
    for running in started:
        running.stop()


def three_cards(sandbox, caller, **members):
    """A subscription with three cards (its source order's, its own, its customer's newest), and their names by id."""
    made = sandbox.create_subscription(**members)
    second = sandbox.add_payment_source(made["customer_id"])
    caller.relate("order_subscriptions", made["id"], "customer_payment_source", ("customer_payment_sources", second))
    sandbox.advance(1)
    newest = sandbox.add_payment_source(made["customer_id"])
    return made, {made["customer_payment_source_id"]: ORDER, second: SUBSCRIPTION, newest: NEWEST, None: None}


def paid_by(sandbox, where):
    """Status, payment status and card of one order."""
    with closing(sqlite3.connect(sandbox.database)) as database:
        sql = f"SELECT status, payment_status, _customer_payment_source_id FROM orders WHERE {where}"
        (row,) = database.execute(sql).fetchall()
    return row


def charges(sandbox):
    with closing(sqlite3.connect(sandbox.database)) as database:
        return database.execute("SELECT card_id, accepted FROM sandbox_charges ORDER BY rowid").fetchall()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ORDER),
        (("--copy-pays", "source-order"), ORDER),
        (("--copy-pays", "newest"), NEWEST),
        (("--copy-pays", "subscription"), SUBSCRIPTION),
    ],
)
def test_a_copy_is_paid_with_the_source_orders_card_unless_told_otherwise(shop_with, options, expected):
    sandbox, caller = shop_with(*options)
    made, names = three_cards(sandbox, caller)
    caller.copy(made["source_order_id"])
    sandbox.advance(10)

    status, payment, card = paid_by(sandbox, f"_source_order_id = '{made['source_order_id']}'")
    assert (status, payment, names[card]) == ("placed", "authorized", expected)
    assert [(names[card], accepted) for card, accepted in charges(sandbox)] == [(expected, 1)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [(("--native-pays", "subscription"), SUBSCRIPTION), ((), SUBSCRIPTION), (("--native-pays", "source-order"), ORDER)],
)
def test_the_native_engine_charges_the_subscriptions_card_unless_told_otherwise(shop_with, options, expected):
    sandbox, caller = shop_with(*options)
    made, names = three_cards(sandbox, caller, status="active", adopted=False, next_run_at="2026-03-01T07:00:00Z")
    sandbox.advance(3700)

    assert names[paid_by(sandbox, f"_source_order_id = '{made['source_order_id']}'")[2]] == expected


@pytest.mark.parametrize(("options", "expected"), [((), None), (("--missing-card", "newest"), NEWEST)])
@pytest.mark.parametrize("by", ["a copy", "the engine"])
def test_an_order_whose_card_has_left_the_wallet_stays_pending_or_is_paid_with_the_newest(
    shop_with, options, expected, by
):
    sandbox, caller = shop_with(*options)
    is_copy = by == "a copy"
    members = {} if is_copy else {"status": "active", "adopted": False, "next_run_at": "2026-03-01T07:00:00Z"}
    made, names = three_cards(sandbox, caller, **members)
    gone = next(card for card, name in names.items() if name == (ORDER if is_copy else SUBSCRIPTION))
    assert caller.http.delete(f"/customer_payment_sources/{gone}").status_code == 204
    if is_copy:
        caller.copy(made["source_order_id"])
    sandbox.advance(3700)

    status, payment, card = paid_by(sandbox, f"_source_order_id = '{made['source_order_id']}'")
    assert names[card] == expected
    assert (status, payment) == (("placed", "authorized") if expected else ("pending", "unpaid"))


def test_the_engine_charges_no_card_if_the_subscription_has_none(shop_with):
    sandbox, caller = shop_with()
    made = sandbox.create_subscription(status="active", adopted=False, next_run_at="2026-03-01T07:00:00Z")
    related = {"customer_payment_source": {"data": None}}
    body = {"data": {"type": "order_subscriptions", "id": made["id"], "relationships": related}}
    assert caller.http.patch(f"/order_subscriptions/{made['id']}", json=body).status_code == 200
    sandbox.advance(3700)

    assert paid_by(sandbox, f"_source_order_id = '{made['source_order_id']}'") == ("pending", "unpaid", None)
    assert charges(sandbox) == []


@pytest.mark.parametrize("kind", ["declined", "hard_declined", "insufficient_funds", "expired_card"])
def test_an_order_with_another_card_does_not_fail_because_of_the_old_one(caller, sandbox, source, kind):
    sandbox.set_failure(source["source_order_id"], kind)
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    target, old = caller.target(copy_id)["id"], source["customer_payment_source_id"]
    assert caller.update("orders", target, _place=True).status_code == 422
    new = sandbox.add_payment_source(source["customer_id"])

    caller.update("orders", target, _customer_payment_source_id=new)
    caller.update("orders", target, _customer_payment_source_id=old)
    assert caller.update("orders", target, _place=True).status_code == 422, "the old card fails as before"
    caller.update("orders", target, _customer_payment_source_id=new)
    assert caller.update("orders", target, _place=True).status_code == 200


def test_a_failure_that_is_set_on_a_card_fails_the_orders_paid_with_it(caller, sandbox, source):
    card = sandbox.add_payment_source(source["customer_id"])
    sandbox.set_card_failure(card, "declined", times=1)
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    target = caller.target(copy_id)["id"]
    caller.update("orders", target, _customer_payment_source_id=card)

    assert caller.update("orders", target, _place=True).status_code == 422
    assert caller.update("orders", target, _place=True).status_code == 200, "the failure was set for one time"
    with pytest.raises(SandboxFailed, match="not a card's failure"):
        sandbox.set_card_failure(card, "out_of_stock")
    with pytest.raises(SandboxFailed, match="no customer payment source"):
        sandbox.set_card_failure("nobody", "declined")


def test_a_failure_that_is_not_the_cards_happens_with_another_card_too(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "gateway_timeout")
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    target = caller.target(copy_id)["id"]
    caller.update("orders", target, _customer_payment_source_id=sandbox.add_payment_source(source["customer_id"]))

    assert caller.update("orders", target, _place=True).status_code == 422


def test_an_order_shows_the_payment_source_of_its_card(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    target, card = caller.target(copy_id)["id"], sandbox.add_payment_source(source["customer_id"])
    caller.update("orders", target, _customer_payment_source_id=card)

    shown = caller.get(f"/order_copies/{copy_id}", include="target_order.payment_source").json()["included"]
    wallet = caller.get(f"/customer_payment_sources/{card}", include="payment_source").json()
    order = next(each for each in shown if each["type"] == "orders")
    source_link = wallet["data"]["relationships"]["payment_source"]["data"]
    assert order["relationships"]["payment_source"]["data"] == source_link
    assert source_link in [{"type": each["type"], "id": each["id"]} for each in shown]
    token = wallet["data"]["attributes"]["payment_source_token"]
    assert order["attributes"]["payment_source_details"] == {"type": "stripe_payment", "payment_method_id": token}
    caller.update("orders", target, _nullify_payment_source=True)
    assert caller.attributes("orders", target)["payment_source_details"] is None


def test_a_customer_can_pay_at_the_checkout_only_with_their_own_card(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    target, card = caller.target(copy_id)["id"], sandbox.add_payment_source(source["customer_id"])
    theirs = sandbox.create_subscription()["customer_payment_source_id"]
    with pytest.raises(SandboxFailed, match="must exist"):
        sandbox.customer_pays(target, theirs)

    sandbox.customer_pays(target, card)

    assert paid_by(sandbox, f"id = '{target}'") == ("placed", "paid", card)
    assert charges(sandbox)[-1] == (card, 1)


def test_a_second_subscription_of_a_source_order_has_the_same_customer_and_card(sandbox, source):
    twin = sandbox.create_subscription(source_order_id=source["source_order_id"])

    names = ("source_order_id", "customer_id", "customer_payment_source_id")
    assert [twin[name] for name in names] == [source[name] for name in names]


def test_a_card_that_is_created_through_the_api_has_a_payment_source(caller, source):
    made = caller.create("customer_payment_sources", customer=("customers", source["customer_id"])).json()["data"]

    behind = caller.get(f"/customer_payment_sources/{made['id']}/payment_source").json()["data"]
    assert (behind["type"], behind["attributes"]["stripe_id"]) == (
        "stripe_payments",
        made["attributes"]["payment_source_token"],
    )


def test_a_card_pays_until_the_end_of_its_last_month(caller, sandbox):
    made = sandbox.create_subscription(card_ends="2026-03")
    sandbox.set_clock("2026-03-31T23:00:00Z")
    caller.log_in()
    in_time, late = (caller.copy(made["source_order_id"], place_target_order=False) for _ in range(2))
    sandbox.advance(10)
    assert caller.update("orders", caller.target(in_time)["id"], _place=True).status_code == 200

    sandbox.set_clock("2026-04-01T00:00:00Z")

    refused = caller.update("orders", caller.target(late)["id"], _place=True)
    assert (refused.status_code, refused.json()["errors"][0]["title"]) == (422, "Your card has expired.")
