"""Filters through relationships that lead nowhere: there, as in an outer join, everything is null."""

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
def test_what_has_no_such_relation_is_found_where_null_is_asked_for(caller, copies, name, value, expected):
    among = ",".join(copies)
    found = {copies[one["id"]] for one in caller.filtered("/order_copies", id_in=among, **{name: value})}

    assert found == set(expected.split())


@pytest.fixture
def copies(caller, sandbox, source):
    """Three copies: the target of one is placed, of one pending, and one has none yet."""
    order_id = source["source_order_id"]
    made = {caller.copy(order_id): "placed", caller.copy(order_id, place_target_order=False): "pending"}
    sandbox.advance(10)
    return {**made, caller.copy(order_id): "nowhere"}
