"""Filters across relationships: a missing related resource has only nulls, as in an outer join."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("target_order_placed_at_null", "true", "nowhere pending"),
        ("target_order_placed_at_not_null", "false", "nowhere pending"),
        ("target_order_placed_at_blank", "true", "nowhere pending"),
        ("target_order_placed_at_present", "false", "nowhere pending"),
        ("target_order_placed_at_null", "false", "placed"),
        ("target_order_status_eq_or_null", "placed", "nowhere placed"),
        ("target_order_status_not_eq_or_null", "placed", "nowhere pending"),
        ("target_order_status_in_or_null", "placed,approved", "nowhere placed"),
        ("target_order_status_not_in_or_null", "placed", "nowhere pending"),
        ("target_order_status_not_eq", "placed", "pending"),
        ("target_order_customer_email_null", "true", "nowhere"),
        ("target_order_resource_errors_message_null", "true", "nowhere pending placed"),
        ("target_order_resource_errors_message_null", "false", ""),
        ("reference_or_target_order_status_eq_or_null", "pending", "nowhere pending placed"),
    ],
)
def test_a_missing_related_resource_is_filtered_as_null(caller, copies, name, value, expected):
    among = ",".join(copies)
    found = {copies[one["id"]] for one in caller.filtered("/order_copies", id_in=among, **{name: value})}

    assert found == set(expected.split())


@pytest.fixture
def copies(caller, sandbox, source):
    """Three copies: the target order of one is placed, of one pending, and one ("nowhere") has none yet."""
    order_id = source["source_order_id"]
    made = {caller.copy(order_id): "placed", caller.copy(order_id, place_target_order=False): "pending"}
    sandbox.advance(10)
    return {**made, caller.copy(order_id): "nowhere"}


def test_copies_are_filtered_by_the_status_of_their_target_order_and_by_excluded_ids(caller, copies):
    by_state = {state: copy_id for copy_id, state in copies.items()}
    among = ",".join(copies)

    def found(**filters):
        return {one["id"] for one in caller.filtered("/order_copies", id_in=among, **filters)}

    assert found(target_order_status_in="draft,pending") == {by_state["pending"]}
    assert found(target_order_status_in="draft,pending", id_not_in=by_state["pending"]) == set()
    assert found(id_not_in=f"{by_state['pending']},{by_state['placed']}") == {by_state["nowhere"]}


def test_subscriptions_of_source_orders_are_filtered_by_excluded_statuses(caller, sandbox, source):
    order_id, other = source["source_order_id"], sandbox.create_subscription()
    rival = sandbox.create_subscription(source_order_id=order_id, status="active")["id"]
    cancelled = sandbox.create_subscription(source_order_id=order_id, status="cancelled")["id"]

    found = caller.filtered(
        "/order_subscriptions",
        source_order_id_in=f"{order_id},{other['source_order_id']}",
        status_not_in="cancelled,inactive",
    )
    assert {one["id"] for one in found} == {rival}
    everything = caller.filtered("/order_subscriptions", source_order_id_in=order_id)
    assert {one["id"] for one in everything} == {source["id"], rival, cancelled}


def test_copies_are_filtered_by_origin_and_by_created_at_inclusively(caller, sandbox, source):
    order_id = source["source_order_id"]
    caller.copy(order_id, reference_origin="perennial", reference="before")
    sandbox.advance(60)
    since = f"{sandbox.clock():%Y-%m-%dT%H:%M:%SZ}"
    caller.copy(order_id, reference_origin="perennial", reference="at")
    caller.copy(order_id, reference_origin="somebody", reference="at")
    sandbox.advance(60)
    caller.copy(order_id, reference_origin="perennial", reference="after")

    found = caller.filtered(
        "/order_copies", source_order_id_eq=order_id, created_at_gteq=since, reference_origin_eq="perennial"
    )
    assert {one["attributes"]["reference"] for one in found} == {"at", "after"}
