"""What nobody outside knows of Commerce Layer: the sandbox's default, and what its settings make of it."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from blocks.sandbox.control.command_line import parser, settings_of
from blocks.sandbox.running import RunningSandbox
from blocks.sandbox.shop.virtual_clock import text_of

FROZEN = ("--limits", "off", "--frozen", "--clock", "2026-03-01T06:00:00Z")
OTHER = (
    *("--created-card", "none", "--occurrencies", "successes", "--past-expiry", "inactive"),
    *("--pending-without-card", "on"),
    *("--failed-target", "draft", "--aborted-leaves", "order", "--refused-place", "keeps"),
    *("--late-creations", "30", "--meta", "document"),
    *("--shown-card", "nothing", "--refusal-shows", "nothing"),
    *("--placed-again", "charges-again", "--copied-source", "changes", "--copy-prices", "source-order"),
)
"""The other answer to every question."""

COPIED = 40
"""After so many seconds an order copy has ended, also if its creation is committed late."""


@pytest.fixture(scope="module")
def other():
    with RunningSandbox(*FROZEN, *OTHER) as running:
        yield running


@pytest.fixture(params=["default", "other"])
def answer(request):
    return request.param


@pytest.fixture
def shop(answer, request, make_caller):
    """The module's sandbox with the defaults or with the other answers, and a caller for it."""
    running = request.getfixturevalue("sandbox" if answer == "default" else "other")
    running.clear_faults()
    return running, make_caller(running)


def choose(answer, default, other):
    return default if answer == "default" else other


def runs_soon(sandbox, **members):
    """A subscription of the native engine that runs in a minute."""
    due = text_of(sandbox.clock() + timedelta(seconds=60))
    return sandbox.create_subscription(status="active", adopted=False, next_run_at=due, starts_at=due, **members)


def test_a_subscription_that_is_created_through_the_api_has_the_source_orders_card_or_none(shop, answer):
    sandbox, caller = shop
    source = sandbox.create_subscription()
    related = {"source_order": ("orders", source["source_order_id"])}
    made = caller.create("order_subscriptions", {"frequency": "weekly"}, **related).json()["data"]["id"]

    card = caller.get(f"/order_subscriptions/{made}/customer_payment_source").json()["data"]
    found = None if card is None else card["id"]
    assert found == choose(answer, source["customer_payment_source_id"], None)


def test_a_created_subscription_does_not_inherit_a_card_that_has_left_the_wallet(caller, source):
    gone = source["customer_payment_source_id"]
    assert caller.http.delete(f"/customer_payment_sources/{gone}").status_code == 204
    related = {"source_order": ("orders", source["source_order_id"])}
    made = caller.create("order_subscriptions", {"frequency": "weekly"}, **related).json()["data"]["id"]

    assert caller.get(f"/order_subscriptions/{made}/customer_payment_source").json()["data"] is None


def test_occurrencies_counts_every_run_or_only_those_that_succeed(shop, answer):
    sandbox, caller = shop
    made = runs_soon(sandbox, frequency="hourly", failure="declined", times=1)
    sandbox.advance(70 + 3600)
    caller.log_in()

    subscription = caller.attributes("order_subscriptions", made["id"])
    assert (subscription["occurrencies"], subscription["errors_count"]) == (choose(answer, 2, 1), 1)


def test_an_active_subscription_keeps_its_status_past_its_end_or_becomes_inactive(shop, answer):
    sandbox, caller = shop
    ends = text_of(sandbox.clock() + timedelta(seconds=3600))
    made = runs_soon(sandbox, frequency="hourly", expires_at=ends)
    adopted = sandbox.create_subscription(expires_at=ends)
    sandbox.advance(3599)
    caller.log_in()
    assert caller.attributes("order_subscriptions", made["id"])["status"] == "active"
    sandbox.advance(3600)
    caller.log_in()

    subscription = caller.attributes("order_subscriptions", made["id"])
    assert (subscription["status"], subscription["occurrencies"]) == (choose(answer, "active", "inactive"), 1)
    assert caller.attributes("order_subscriptions", adopted["id"])["status"] == "inactive"


def test_a_subscription_that_no_longer_expires_stays_active(other, make_caller):
    caller = make_caller(other)
    made = runs_soon(other, expires_at=text_of(other.clock() + timedelta(seconds=3600)))
    caller.update("order_subscriptions", made["id"], expires_at=None)
    other.advance(7200)
    caller.log_in()

    assert caller.attributes("order_subscriptions", made["id"])["status"] == "active"


@pytest.mark.parametrize("kind", ["declined", "placing"])
def test_the_order_that_a_copy_could_not_place_is_pending_or_a_draft(shop, answer, kind):
    sandbox, caller = shop
    source = sandbox.create_subscription(failure=kind, times=1)
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(COPIED)

    status = choose(answer, "pending", "draft")
    target, copy = caller.target(copy_id), caller.attributes("order_copies", copy_id)
    assert (target["attributes"]["status"], target["attributes"]["payment_status"]) == (status, "unpaid")
    assert copy["errors_log"]["status"] == [f"cannot transition from {status} to placed"]
    assert caller.update("orders", target["id"], _place=True).json()["data"]["attributes"]["status"] == "placed"


@pytest.mark.parametrize("place", [False, True])
def test_an_aborted_copy_leaves_no_order_or_one_that_is_pending(shop, answer, place):
    sandbox, caller = shop
    source = sandbox.create_subscription(failure="aborted", times=1)
    copy_id = caller.copy(source["source_order_id"], place_target_order=place)
    sandbox.advance(COPIED)

    copy, target = caller.attributes("order_copies", copy_id), caller.target(copy_id)
    assert (copy["status"], copy["failed_at"], copy["errors_count"]) == ("aborted", None, 0)
    left = None if target is None else (target["attributes"]["status"], target["attributes"]["payment_status"])
    assert left == choose(answer, None, ("pending", "unpaid"))


def unplaced(sandbox, caller, source) -> str:
    """The id of an unplaced copy of a source order."""
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(COPIED)
    return str(caller.target(copy_id)["id"])


def test_an_order_that_is_placed_again_charges_once_or_again(shop, answer):
    sandbox, caller = shop
    order_id = unplaced(sandbox, caller, sandbox.create_subscription())
    for _ in range(2):
        assert caller.update("orders", order_id, _place=True).status_code == 200

    made = caller.filtered("/authorizations", order_id_eq=order_id)
    assert [one["attributes"]["succeeded"] for one in made] == [True] * choose(answer, 1, 2)
    assert {one["attributes"]["number"][-4:] for one in made} == choose(answer, {"/001"}, {"/001", "/002"})


def test_a_free_order_that_is_placed_again_charges_nothing(shop):
    sandbox, caller = shop
    order_id = unplaced(sandbox, caller, sandbox.create_subscription(total_cents=0))
    for _ in range(2):
        assert caller.update("orders", order_id, _place=True).status_code == 200

    assert caller.filtered("/authorizations", order_id_eq=order_id) == []


def test_an_order_shows_the_token_of_its_card_or_a_payment_source_of_its_own(shop, answer):
    sandbox, caller = shop
    source = sandbox.create_subscription()
    order_id, card = unplaced(sandbox, caller, source), source["customer_payment_source_id"]
    shown = [caller.get(f"/orders/{order_id}", include="payment_source").json()]
    caller.update("orders", order_id, _customer_payment_source_id=card)
    shown.append(caller.get(f"/orders/{order_id}", include="payment_source").json())
    of_card = caller.get(f"/customer_payment_sources/{card}/payment_source").json()["data"]["id"]

    for order in shown:
        details = order["data"]["attributes"]["payment_source_details"]
        own = order["data"]["relationships"]["payment_source"]["data"]["id"]
        assert (own == of_card, "payment_method_id" in details) == choose(answer, (True, True), (False, False))
        assert order["included"][0]["id"] == own
    assert caller.update("orders", order_id, _place=True).json()["data"]["attributes"]["status"] == "placed"


def test_a_copy_asks_the_price_list_again_or_costs_what_its_source_order_did(shop, answer):
    sandbox, caller = shop
    order_id = unplaced(sandbox, caller, sandbox.create_subscription(total_cents=1000))
    sku = caller.create("skus", {"code": "TEA", "name": "Tea", "do_not_track": True}).json()["data"]["id"]
    [prices] = caller.get("/price_lists").json()["data"]
    related = {"sku": ("skus", sku), "price_list": ("price_lists", prices["id"])}
    price = caller.create("prices", {"amount_cents": 500}, **related).json()["data"]["id"]
    caller.create("line_items", {"sku_code": "TEA", "quantity": 2}, order=("orders", order_id))
    caller.update("orders", order_id, _place=True)

    caller.update("prices", price, amount_cents=700)
    dearer = unplaced(sandbox, caller, {"source_order_id": order_id})
    caller.http.delete(f"/prices/{price}")
    without_price = caller.copy(order_id)
    sandbox.advance(COPIED)

    assert caller.attributes("orders", dearer)["total_amount_cents"] == choose(answer, 2400, 2000)
    assert caller.attributes("order_copies", without_price)["status"] == choose(answer, "failed", "completed")


def test_a_refused_placing_leaves_an_error_on_its_order_or_nothing(shop, answer):
    sandbox, caller = shop
    order_id = unplaced(sandbox, caller, sandbox.create_subscription(failure="declined"))
    refused = caller.update("orders", order_id, _place=True)

    order = caller.attributes("orders", order_id)
    assert (refused.status_code, refused.json()["errors"][0]["meta"]) == (422, {"error": "card_declined"})
    assert (order["status"], order["errors_count"]) == ("pending", choose(answer, 1, 0))
    assert len(caller.get(f"/orders/{order_id}/resource_errors").json()["data"]) == choose(answer, 1, 0)


def test_copying_an_order_leaves_it_unchanged_or_changes_when_it_was_updated(shop, answer):
    sandbox, caller = shop
    source = sandbox.create_subscription()
    before = caller.attributes("orders", source["source_order_id"])
    unplaced(sandbox, caller, source)

    after = caller.attributes("orders", source["source_order_id"])
    assert (after["updated_at"] != before["updated_at"]) == choose(answer, False, True)
    assert {**after, "updated_at": None} == {**before, "updated_at": None}


def test_a_refused_placing_rolls_the_rest_of_its_patch_back_or_keeps_it(shop, answer):
    sandbox, caller = shop
    source = sandbox.create_subscription(failure="declined", times=1)
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(COPIED)
    order_id = caller.target(copy_id)["id"]
    written = {"reference": "mine", "metadata": {"by": "me"}}

    refused = caller.update("orders", order_id, **written, _place=True)
    order = caller.attributes("orders", order_id)

    shown = choose(answer, 1, 0)
    assert (refused.status_code, order["status"], order["errors_count"]) == (422, "pending", shown)
    nothing = {"reference": None, "metadata": {}}
    assert {name: order[name] for name in written} == choose(answer, nothing, written)
    assert caller.update("orders", order_id, **written, _place=True).json()["data"]["attributes"]["status"] == "placed"


def test_a_created_copy_can_be_read_at_once_or_later_with_the_time_of_its_arrival(shop, answer):
    sandbox, caller = shop
    source = sandbox.create_subscription()["source_order_id"]
    arrived_at = text_of(sandbox.clock())
    answered = caller.create("order_copies", {"reference": "mine"}, source_order=("orders", source))
    promised = answered.json()["data"]
    assert (answered.status_code, promised["attributes"]["created_at"]) == (201, arrived_at)

    sandbox.advance(29)
    listed = caller.filtered("/order_copies", source_order_id_eq=source)
    assert [copy["id"] for copy in listed] == choose(answer, [promised["id"]], [])
    assert caller.get(f"/order_copies/{promised['id']}").status_code == choose(answer, 200, 404)
    sandbox.advance(10)
    (copy,) = caller.filtered("/order_copies", source_order_id_eq=source)
    assert (copy["id"], copy["attributes"]["created_at"]) == (promised["id"], arrived_at)
    assert copy["attributes"]["status"] == "completed"


def test_a_late_creation_that_is_hit_by_a_fault_is_committed_once(other, make_caller):
    caller = make_caller(other)
    source = other.create_subscription()["source_order_id"]
    for fault in ({"action": "reset", "when": "after"}, {"action": "late", "stamp": "arrival", "seconds": 30}):
        other.fault(**fault, method="POST", path="/api/order_copies", times=1)
        with pytest.raises(httpx.TransportError):
            caller.create("order_copies", source_order=("orders", source))
    refused = caller.create("order_copies", source_order=("orders", "none"))
    other.advance(60)

    assert refused.status_code == 422
    assert len(caller.filtered("/order_copies", source_order_id_eq=source)) == 2


@pytest.mark.parametrize("seconds", ["-1", "86401"])
def test_creations_are_at_most_a_day_late(seconds):
    with pytest.raises(ValueError, match="--late-creations is"):
        settings_of(parser().parse_args(["--late-creations", seconds]))


def test_mode_and_organization_stand_in_the_meta_of_each_resource_or_of_the_document(shop, answer):
    sandbox, caller = shop
    made = sandbox.create_subscription()
    origin = {"mode", "organization_id", "trace_id"}
    resource, document = choose(answer, (origin, set()), ({"created_with_version"}, origin))

    one = caller.get(f"/orders/{made['source_order_id']}", include="customer").json()
    many = caller.get("/orders").json()
    nothing = caller.get(f"/orders/{made['source_order_id']}/order_subscription").json()
    for shown in (one["data"], one["included"][0], many["data"][0]):
        assert set(shown["meta"]) == resource
    assert (set(one.get("meta", {})), set(nothing.get("meta", {})), nothing["data"]) == (document, document, None)
    assert set(many["meta"]) == {"record_count", "page_count"} | document


@pytest.mark.parametrize("how", ["deleted", "taken off"])
def test_an_active_subscription_without_a_usable_card_stays_active_or_is_pending_until_it_has_one(shop, answer, how):
    sandbox, caller = shop
    made = runs_soon(sandbox)
    kind, key, card = "order_subscriptions", made["id"], made["customer_payment_source_id"]
    if how == "deleted":
        assert caller.http.delete(f"/customer_payment_sources/{card}").status_code == 204
    else:
        none = {"data": {"type": kind, "id": key, "relationships": {"customer_payment_source": {"data": None}}}}
        assert caller.http.patch(f"/{kind}/{key}", json=none).status_code == 200
    status = choose(answer, "active", "pending")
    assert caller.attributes(kind, key)["status"] == status
    sandbox.advance(70)
    subscription = caller.attributes(kind, key)
    assert (subscription["status"], subscription["errors_count"]) == (status, choose(answer, 1, 0))

    assert caller.update(kind, key, _activate=True).json()["data"]["attributes"]["status"] == status
    new = sandbox.add_payment_source(made["customer_id"])
    caller.relate(kind, key, "customer_payment_source", ("customer_payment_sources", new))
    assert caller.update(kind, key, _activate=True).json()["data"]["attributes"]["status"] == "active"


def test_a_subscription_whose_card_expires_can_be_pending_at_its_next_run(make_caller):
    at_the_end_of_march = ("--clock", "2026-03-31T23:59:30Z", "--pending-without-card", "on")
    with RunningSandbox("--limits", "off", "--frozen", *at_the_end_of_march) as running:
        caller = make_caller(running)
        made = runs_soon(running, card_ends="2026-03")
        free = runs_soon(running, card_ends="2026-03", total_cents=0)
        assert caller.attributes("order_subscriptions", made["id"])["status"] == "active"
        running.advance(70)

        assert caller.attributes("order_subscriptions", made["id"])["status"] == "pending"
        assert caller.filtered("/order_copies", order_subscription_id_eq=made["id"]) == []
        assert caller.attributes("order_subscriptions", free["id"])["occurrencies"] == 1
