"""Every documented filter predicate, on five subscriptions whose matches are known."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="module")
def rows(sandbox):
    """Five subscriptions: references ant, Bee, cat_1, 50%, and none."""
    members = [
        {"reference": "ant", "errors_count": 0, "succeeded_on_last_run": 1, "expires_at": "2027-01-01T00:00:00Z"},
        {"reference": "Bee", "errors_count": 1, "succeeded_on_last_run": 0},
        {"reference": "cat_1", "errors_count": 2, "metadata": {"a": {"b": [1, 2]}, "c": "x"}},
        {"reference": "50%", "errors_count": 3},
        {"errors_count": 4},
    ]
    names = ["ant", "bee", "cat", "fifty", "none"]
    return {sandbox.create_subscription(**member)["id"]: name for name, member in zip(names, members, strict=True)}


def found(caller, rows, **filters):
    return {rows[one["id"]] for one in caller.filtered("/order_subscriptions", **filters)}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("reference_eq", "ant", "ant"),
        ("reference_eq_or_null", "ant", "ant none"),
        ("reference_not_eq", "ant", "bee cat fifty"),
        ("reference_not_eq_or_null", "ant", "bee cat fifty none"),
        ("reference_not_eq_all", "ant,Bee", "cat fifty"),
        ("reference_in", "ant,Bee", "ant bee"),
        ("reference_in_or_null", "ant,Bee", "ant bee none"),
        ("reference_not_in", "ant,Bee", "cat fifty"),
        ("reference_not_in_or_null", "ant,Bee", "cat fifty none"),
        ("reference_matches", "%t%", "ant cat"),
        ("reference_does_not_match", "%t%", "bee fifty"),
        ("reference_matches_any", "a%,50%", "ant fifty"),
        ("reference_matches_all", "c%,%1", "cat"),
        ("reference_does_not_match_any", "a%,50%", "ant bee cat fifty"),
        ("reference_does_not_match_all", "a%,50%", "bee cat"),
        ("reference_start", "an", "ant"),
        ("reference_not_start", "an", "bee cat fifty"),
        ("reference_start_any", "an,ca", "ant cat"),
        ("reference_end", "%", "fifty"),
        ("reference_not_end", "t", "bee cat fifty"),
        ("reference_cont", "_", "cat"),
        ("reference_not_cont", "a", "bee fifty"),
        ("reference_cont_any", "nt,ee", "ant bee"),
        ("reference_cont_all", "a,t", "ant cat"),
        ("reference_not_cont_all", "a,e", "fifty"),
        ("reference_i_cont", "BEE", "bee"),
        ("reference_present", "true", "ant bee cat fifty"),
        ("reference_blank", "true", "none"),
        ("reference_null", "true", "none"),
        ("reference_null", "false", "ant bee cat fifty"),
        ("reference_not_null", "true", "ant bee cat fifty"),
        ("errors_count_lt", "1", "ant"),
        ("errors_count_lteq", "1", "ant bee"),
        ("errors_count_gt", "3", "none"),
        ("errors_count_gteq", "3", "fifty none"),
        ("errors_count_gt_any", "3,2", "fifty none"),
        ("errors_count_gt_all", "3,2", "none"),
        ("errors_count_in", "1,2", "bee cat"),
        ("succeeded_on_last_run_false", "true", "bee"),
        ("succeeded_on_last_run_true", "false", "bee"),
        ("expires_at_gt", "2026-12-31T23:00:00-05:00", ""),
        ("expires_at_gteq", "2026-12-31T19:00:00-05:00", "ant"),
        ("expires_at_lteq", "2027-01-01", "ant"),
        ("metadata_jcont", json.dumps({"a": {"b": [2]}}), "cat"),
        ("metadata_jcont", json.dumps({"c": "y"}), ""),
        ("reference_or_frequency_eq", "ant", "ant"),
        ("frequency_or_reference_cont", "month", "ant bee cat fifty none"),
    ],
)
def test_a_predicate_finds_what_its_name_says(caller, rows, name, value, expected):
    assert found(caller, rows, **{name: value}) == set(expected.split())


def test_filters_are_joined_by_and(caller, rows):
    assert found(caller, rows, reference_in="ant,Bee", errors_count_gt="0") == {"bee"}


def test_a_filter_crosses_relationships_in_both_directions(caller, rows, sandbox):
    subscription_id = next(key for key, name in rows.items() if name == "bee")
    row = caller.get(f"/order_subscriptions/{subscription_id}", include="source_order").json()["included"][0]

    assert found(caller, rows, source_order_id_eq=row["id"]) == {"bee"}
    assert found(caller, rows, source_order_number_eq=row["attributes"]["number"]) == {"bee"}
    orders = caller.filtered("/orders", order_subscriptions_reference_eq="Bee")
    assert [one["id"] for one in orders] == [row["id"]]
    by_customer = caller.filtered(
        "/order_subscriptions", source_order_customer_email_eq=row["attributes"]["customer_email"]
    )
    assert [one["id"] for one in by_customer] == [subscription_id]


def test_ids_are_compared_case_sensitively(caller, rows):
    subscription_id = next(iter(rows))

    assert len(caller.filtered("/order_subscriptions", id_eq=subscription_id)) == 1
    assert caller.filtered("/order_subscriptions", id_eq=subscription_id.swapcase()) == []


def test_lists_sort_in_both_directions_and_by_several_attributes(caller, rows):
    up = caller.get("/order_subscriptions", sort="errors_count,id").json()["data"]
    down = caller.get("/order_subscriptions", sort="-errors_count").json()["data"]

    assert [rows[one["id"]] for one in up] == ["ant", "bee", "cat", "fifty", "none"]
    assert [rows[one["id"]] for one in down] == ["none", "fifty", "cat", "bee", "ant"]
