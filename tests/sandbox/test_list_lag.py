"""Lists that lag behind, as lists that are read from a replica do."""

from __future__ import annotations

import httpx
import pytest

from blocks.sandbox.running import RunningSandbox, SandboxFailed


@pytest.fixture
def lagging(sandbox):
    sandbox.lag_lists(30)
    yield sandbox
    sandbox.lag_lists(0)


def listed(caller, copy_id):
    return caller.filtered("/order_copies", id_eq=copy_id)


def test_a_copy_is_listed_when_the_lag_is_over_and_can_be_read_by_id_at_once(caller, source, lagging):
    copy_id = caller.copy(source["source_order_id"])

    assert listed(caller, copy_id) == []
    assert caller.attributes("order_copies", copy_id)["status"] == "pending"
    lagging.advance(29)
    assert listed(caller, copy_id) == []
    lagging.advance(1)
    assert listed(caller, copy_id)[0]["attributes"]["status"] == "pending"


def test_each_status_of_a_copy_is_listed_with_the_same_lag_however_far_the_clock_jumps(caller, source, lagging):
    copy_id = caller.copy(source["source_order_id"])
    seen = []
    for seconds in (30, 1, 2):
        lagging.advance(seconds)
        seen += [copy["attributes"]["status"] for copy in listed(caller, copy_id)]

    assert seen == ["pending", "in_progress", "completed"]
    assert caller.attributes("order_copies", copy_id)["status"] == "completed"


def test_included_resources_and_filters_lag_like_the_list(caller, source, lagging):
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    lagging.advance(60)
    order_id = caller.target(copy_id)["id"]
    caller.update("orders", order_id, _place=True)

    def included():
        document = caller.get("/order_copies", **{"filter[q][id_eq]": copy_id, "include": "target_order"}).json()
        return document["included"][0]["attributes"]["status"]

    assert included() == "pending"
    assert len(caller.filtered("/order_copies", id_eq=copy_id, target_order_status_eq="pending")) == 1
    assert caller.attributes("orders", order_id)["status"] == "placed"
    lagging.advance(30)
    assert included() == "placed"
    assert caller.filtered("/order_copies", id_eq=copy_id, target_order_status_eq="pending") == []


def test_related_lists_lag_and_single_related_resources_do_not(caller, source, lagging):
    order_id = source["source_order_id"]
    copy_id = caller.copy(order_id)

    assert caller.get(f"/orders/{order_id}/order_copies").json()["data"] == []
    assert caller.get(f"/orders/{order_id}/relationships/order_copies").json()["data"] == []
    assert caller.get(f"/order_copies/{copy_id}/source_order").json()["data"]["id"] == order_id
    lagging.advance(30)
    assert caller.get(f"/orders/{order_id}/order_copies").json()["data"][0]["id"] == copy_id


def test_a_deleted_copy_stays_listed_until_the_lag_is_over(caller, source, lagging):
    copy_id = caller.copy(source["source_order_id"])
    lagging.advance(40)
    caller.http.delete(f"/order_copies/{copy_id}")

    assert len(listed(caller, copy_id)) == 1
    assert caller.get(f"/order_copies/{copy_id}").status_code == 404
    lagging.advance(30)
    assert listed(caller, copy_id) == []


def test_only_the_lists_that_are_named_lag(caller, sandbox, source, lagging):
    sandbox.lag_lists(30, ["order_copies"])
    copy_id = caller.copy(source["source_order_id"])
    caller.update("order_subscriptions", source["id"], reference="now")

    assert listed(caller, copy_id) == []
    assert len(caller.filtered("/order_subscriptions", id_eq=source["id"], reference_eq="now")) == 1


def test_lists_are_up_to_date_when_the_lag_is_switched_off(caller, sandbox, source):
    sandbox.lag_lists(3600)
    copy_id = caller.copy(source["source_order_id"])
    assert listed(caller, copy_id) == []
    assert sandbox.info()["list_lag_seconds"] == 3600

    sandbox.lag_lists(0)
    assert len(listed(caller, copy_id)) == 1
    assert sandbox.info()["list_lag_seconds"] == 0


def test_a_refused_write_never_reaches_a_list(caller, sandbox, source, lagging):
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    lagging.advance(60)
    order_id = caller.target(copy_id)["id"]
    sandbox.set_failure(order_id, "declined")
    assert caller.update("orders", order_id, reference="half", _place=True).status_code == 422
    lagging.advance(60)

    (order,) = caller.filtered("/orders", id_eq=order_id)
    assert (order["attributes"]["reference"], order["attributes"]["status"]) == (None, "pending")
    assert len(caller.get(f"/orders/{order_id}/resource_errors").json()["data"]) == 1


def test_setting_the_clock_back_does_not_prolong_the_lag(caller, source, lagging):
    now = lagging.clock()
    copy_id = caller.copy(source["source_order_id"])
    lagging.set_clock("2025-01-01T00:00:00Z")

    assert len(listed(caller, copy_id)) == 1
    lagging.set_clock(now)
    caller.log_in()


def test_with_the_command_line_option_lists_lag_from_the_start_but_show_the_seeded_data(make_caller):
    with RunningSandbox("--limits", "off", "--frozen", "--list-lag", "10", "--subscriptions", "2") as running:
        caller = make_caller(running)
        copy_id = caller.copy(caller.get("/orders").json()["data"][0]["id"])

        assert running.info()["list_lag_seconds"] == 10
        assert caller.get("/order_subscriptions").json()["meta"]["record_count"] == 2
        assert listed(caller, copy_id) == []
        running.advance(10)
        assert len(listed(caller, copy_id)) == 1


@pytest.mark.parametrize("seconds", [-1, 86_401])
def test_a_lag_that_makes_no_sense_is_refused(sandbox, seconds):
    with pytest.raises(SandboxFailed, match="list_lag_seconds"):
        sandbox.lag_lists(seconds)


def test_a_lag_of_an_unknown_resource_is_refused(sandbox):
    with pytest.raises(SandboxFailed, match="unicorns"):
        sandbox.lag_lists(1, ["unicorns"])


def test_the_openapi_description_includes_the_lag(sandbox):
    described = httpx.get(f"{sandbox.url}/_sandbox/openapi.json", trust_env=False).json()

    assert "list_lag_seconds" in described["paths"]["/_sandbox/lag"]["post"]["summary"]
