"""The order copy as a job: its states, its failures, its options."""

from __future__ import annotations

import pytest

from blocks.sandbox.running import RunningSandbox
from blocks.sandbox.shop.failure_kinds import FAILURES


def test_a_copy_goes_from_pending_through_in_progress_to_completed(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"])
    states = []
    for _ in range(8):
        copy = caller.attributes("order_copies", copy_id)
        states.append(copy["status"])
        sandbox.advance(0.5)

    assert list(dict.fromkeys(states)) == ["pending", "in_progress", "completed"]
    assert copy["created_at"] < copy["started_at"] < copy["completed_at"]
    assert copy["failed_at"] is None
    assert copy["errors_count"] == 0


def test_the_target_order_of_a_copy_is_placed_and_authorized_and_inherits_no_reference(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"], reference="r", reference_origin="perennial", metadata={"a": 1})
    sandbox.advance(10)

    order = caller.target(copy_id)["attributes"]
    assert (order["status"], order["payment_status"], order["fulfillment_status"]) == (
        "placed",
        "authorized",
        "unfulfilled",
    )
    assert order["placed_at"] is not None
    assert (order["reference"], order["reference_origin"], order["metadata"]) == (None, None, {})


def test_without_place_target_order_the_target_order_stays_pending(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)

    assert caller.attributes("order_copies", copy_id)["status"] == "completed"
    assert caller.target(copy_id)["attributes"]["status"] == "pending"


def test_by_default_a_copy_reuses_the_wallet_and_does_not_place(caller, source):
    created = caller.create("order_copies", {}, source_order=("orders", source["source_order_id"]))

    copy = created.json()["data"]["attributes"]
    assert copy["place_target_order"] is False
    assert copy["reuse_wallet"] is True
    assert copy["skip_errors"] is copy["apply_promotions"] is copy["ignore_invalid_coupon"] is False


@pytest.mark.parametrize("kind", [name for name, failure in FAILURES.items() if failure.stage == "place"])
def test_a_failure_at_placing_leaves_an_unpaid_pending_target_order(caller, sandbox, source, kind):
    sandbox.set_failure(source["source_order_id"], kind)
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)

    copy = caller.attributes("order_copies", copy_id)
    assert copy["status"] == "failed"
    assert copy["failed_at"] is not None
    assert "cannot transition from pending to placed" in copy["errors_log"]["status"]
    assert copy["errors_count"] == sum(map(len, copy["errors_log"].values()))
    target = caller.target(copy_id)
    assert target["attributes"]["status"] == "pending"
    assert target["attributes"]["payment_status"] == "unpaid"
    assert len(caller.get(f"/orders/{target['id']}/resource_errors").json()["data"]) == 1
    assert caller.update("orders", target["id"], _place=True).status_code == 422


@pytest.mark.parametrize("kind", [name for name, failure in FAILURES.items() if failure.stage in {"copy", "collect"}])
def test_a_failure_while_copying_leaves_no_target_order(caller, sandbox, source, kind):
    sandbox.set_failure(source["source_order_id"], kind)
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)

    copy = caller.attributes("order_copies", copy_id)
    assert copy["status"] == "failed"
    assert FAILURES[kind].field in copy["errors_log"]
    assert caller.target(copy_id) is None


def test_an_aborted_copy_has_no_end_time_no_errors_log_and_no_target_order(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "aborted")
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)

    copy = caller.attributes("order_copies", copy_id)
    assert copy["status"] == "aborted"
    assert copy["completed_at"] is copy["failed_at"] is copy["errors_log"] is None
    assert caller.target(copy_id) is None


@pytest.mark.parametrize(("kind", "status"), [("stuck", "in_progress"), ("stuck_pending", "pending")])
def test_a_stuck_copy_keeps_its_status_until_it_is_released(caller, sandbox, source, kind, status):
    sandbox.set_failure(source["source_order_id"], kind, times=1)
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(5_000)
    caller.log_in()  # the token has expired meanwhile
    assert caller.attributes("order_copies", copy_id)["status"] == status

    sandbox.release(copy_id)
    sandbox.advance(10)

    assert caller.attributes("order_copies", copy_id)["status"] == "completed"


def test_a_slow_copy_completes_late(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "slow")
    copy_id = caller.copy(source["source_order_id"])

    sandbox.advance(60)
    assert caller.attributes("order_copies", copy_id)["status"] == "in_progress"
    sandbox.advance(70)
    assert caller.attributes("order_copies", copy_id)["status"] == "completed"


def test_a_failure_that_is_set_for_two_times_happens_twice(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "declined", times=2)
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)
    target = caller.target(copy_id)["id"]

    assert caller.update("orders", target, _place=True).status_code == 422
    assert caller.update("orders", target, _place=True).status_code == 200
    assert caller.attributes("orders", target)["status"] == "placed"


def test_with_skip_errors_a_copy_that_cannot_be_paid_completes_without_placing(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "declined")
    copy_id = caller.copy(source["source_order_id"], skip_errors=True)
    sandbox.advance(10)

    assert caller.attributes("order_copies", copy_id)["status"] == "completed"
    assert caller.target(copy_id)["attributes"]["status"] == "pending"


def test_with_skip_errors_an_order_that_is_only_out_of_stock_is_placed(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "out_of_stock")
    copy_id = caller.copy(source["source_order_id"], skip_errors=True)
    sandbox.advance(10)

    assert caller.attributes("order_copies", copy_id)["status"] == "completed"
    assert caller.target(copy_id)["attributes"]["status"] == "placed"


def test_skip_errors_does_not_help_when_there_is_nothing_to_copy(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "sku_gone")
    copy_id = caller.copy(source["source_order_id"], skip_errors=True)
    sandbox.advance(10)

    assert caller.attributes("order_copies", copy_id)["status"] == "failed"


def test_an_invalid_coupon_can_be_ignored(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "invalid_coupon")
    copy_id = caller.copy(source["source_order_id"], ignore_invalid_coupon=True)
    sandbox.advance(10)

    assert caller.target(copy_id)["attributes"]["status"] == "placed"


def test_without_reuse_wallet_the_order_has_no_payment_method(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"], reuse_wallet=False)
    sandbox.advance(10)

    assert caller.attributes("order_copies", copy_id)["errors_log"]["payment_method"] == ["can't be blank"]


def test_a_customer_without_a_wallet_cannot_be_charged_but_a_free_order_is_placed(caller, sandbox):
    poor = sandbox.create_subscription(wallet=False)
    free = sandbox.create_subscription(wallet=False, total_cents=0)
    copies = [caller.copy(poor["source_order_id"]), caller.copy(free["source_order_id"])]
    sandbox.advance(10)

    assert [caller.attributes("order_copies", one)["status"] for one in copies] == ["failed", "completed"]
    assert caller.target(copies[1])["attributes"]["payment_status"] == "free"


def test_cancel_source_order_cancels_the_source_order(caller, sandbox, source):
    caller.copy(source["source_order_id"], cancel_source_order=True)
    sandbox.advance(10)

    assert caller.attributes("orders", source["source_order_id"])["status"] == "cancelled"


def test_two_copies_of_one_order_make_two_target_orders(caller, sandbox, source):
    copies = [caller.copy(source["source_order_id"], reference="same") for _ in range(2)]
    sandbox.advance(10)

    assert len({caller.target(one)["id"] for one in copies}) == 2


def test_a_deleted_copy_never_runs(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"])
    caller.http.delete(f"/order_copies/{copy_id}")
    sandbox.advance(10)

    assert caller.filtered("/orders", order_copies_id_eq=copy_id) == []
    assert caller.get(f"/order_copies/{copy_id}").status_code == 404


def test_promotions_are_recomputed_only_when_asked_and_capture_can_be_automatic(make_caller):
    with RunningSandbox("--limits", "off", "--frozen", "--promotion-percent", "10", "--auto-capture") as running:
        caller = make_caller(running)
        order_id = running.create_subscription(total_cents=2000)["source_order_id"]
        copies = [caller.copy(order_id, apply_promotions=wanted) for wanted in (False, True)]
        running.advance(10)
        frozen, recomputed = (caller.target(one)["attributes"] for one in copies)

    assert (frozen["discount_amount_cents"], frozen["total_amount_with_taxes_cents"]) == (0, 2000)
    assert (recomputed["discount_amount_cents"], recomputed["total_amount_with_taxes_cents"]) == (-200, 1800)
    assert frozen["payment_status"] == "paid"


def test_a_source_order_that_cannot_be_cancelled_fails_only_its_own_copy(caller, sandbox, source):
    created = caller.create("orders", {"place_async": True}, customer=("customers", source["customer_id"]))
    placing = created.json()["data"]["id"]
    assert caller.update("orders", placing, _place=True).json()["data"]["attributes"]["status"] == "placing"
    sandbox.set_failure(placing, "placing")  # so that it stays `placing`
    sandbox.advance(5)
    stubborn = caller.copy(placing, place_target_order=False, cancel_source_order=True)
    lenient = caller.copy(placing, place_target_order=False, cancel_source_order=True, skip_errors=True)
    plain = caller.copy(source["source_order_id"])
    sandbox.advance(10)

    failed, skipped = (caller.attributes("order_copies", one) for one in (stubborn, lenient))
    assert failed["errors_log"] == skipped["errors_log"] == {"status": ["cannot transition from placing to cancelled"]}
    assert (failed["status"], skipped["status"]) == ("failed", "completed")
    assert caller.target(stubborn) is not None
    assert caller.attributes("order_copies", plain)["status"] == "completed"
