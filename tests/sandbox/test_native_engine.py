"""Commerce Layer's own engine runs active subscriptions on time and once, and never retries."""

from __future__ import annotations

from datetime import datetime

import pytest

from blocks.sandbox.shop.run_dates import first_after, is_frequency

DUE = "2040-01-31T06:00:00Z"


@pytest.fixture
def active(caller, sandbox):
    """An active monthly subscription due on 31 January 2040, a minute from now."""
    sandbox.set_clock("2040-01-31T05:59:00Z")
    caller.log_in()
    return sandbox.create_subscription(
        status="active", adopted=False, next_run_at=DUE, starts_at="2039-12-31T06:00:00Z"
    )


def runs(caller, subscription_id):
    return caller.get(f"/order_subscriptions/{subscription_id}/order_copies").json()["data"]


def test_a_due_subscription_is_running_while_its_one_copy_is_made(caller, sandbox, active):
    sandbox.advance(61)
    assert caller.attributes("order_subscriptions", active["id"])["status"] == "running"
    sandbox.advance(10)

    subscription = caller.attributes("order_subscriptions", active["id"])
    assert len(runs(caller, active["id"])) == 1
    assert subscription["status"] == "active"
    assert subscription["succeeded_on_last_run"] is True
    assert subscription["occurrencies"] == 1
    assert subscription["last_run_at"] == "2040-01-31T06:00:00.000Z"
    assert subscription["next_run_at"] == "2040-02-29T06:00:00.000Z"


def test_the_target_order_is_related_to_its_subscription(caller, sandbox, active):
    sandbox.advance(80)

    orders = caller.filtered("/orders", order_subscription_id_eq=active["id"])
    assert [order["attributes"]["status"] for order in orders] == ["placed"]
    assert orders[0]["attributes"]["subscription_created_at"] is not None


def test_a_failed_run_is_counted_and_not_retried(caller, sandbox, active):
    sandbox.set_failure(active["source_order_id"], "declined")
    sandbox.advance(7200)
    caller.log_in()

    subscription = caller.attributes("order_subscriptions", active["id"])
    assert subscription["status"] == "active"
    assert subscription["errors_count"] == 1
    assert subscription["succeeded_on_last_run"] is False
    assert len(runs(caller, active["id"])) == 1


def test_a_monthly_subscription_returns_to_the_31st_after_shorter_months(caller, sandbox, active):
    sandbox.set_clock("2041-02-01T00:00:00Z")
    caller.log_in()

    started = [copy["attributes"]["created_at"][:10] for copy in runs(caller, active["id"])]
    more = caller.get(f"/order_subscriptions/{active['id']}/order_copies", **{"page[number]": 2}).json()["data"]
    started += [copy["attributes"]["created_at"][:10] for copy in more]
    assert sorted(started) == [
        "2040-01-31", "2040-02-29", "2040-03-31", "2040-04-30", "2040-05-31", "2040-06-30", "2040-07-31",
        "2040-08-31", "2040-09-30", "2040-10-31", "2040-11-30", "2040-12-31", "2041-01-31",
    ]  # fmt: skip


def test_an_inactive_subscription_does_not_run(caller, sandbox, active):
    caller.update("order_subscriptions", active["id"], _deactivate=True)
    sandbox.advance(86_400)
    caller.log_in()

    assert runs(caller, active["id"]) == []
    assert caller.attributes("order_subscriptions", active["id"])["next_run_at"] == "2040-01-31T06:00:00.000Z"


def test_an_expired_subscription_does_not_run(caller, sandbox, active):
    caller.update("order_subscriptions", active["id"], expires_at="2040-01-31T06:00:00Z")
    sandbox.advance(3600)

    assert runs(caller, active["id"]) == []


def test_a_postponed_run_happens_at_its_new_time(caller, sandbox, active):
    caller.update("order_subscriptions", active["id"], next_run_at="2040-01-31T07:00:00Z")
    sandbox.advance(120)
    assert runs(caller, active["id"]) == []
    sandbox.advance(3600)

    assert len(runs(caller, active["id"])) == 1


def alerts(caller, subscription_id):
    events = caller.get(f"/order_subscriptions/{subscription_id}/events", **{"filter[q][name_end]": "renewal"})
    return [event["attributes"]["created_at"] for event in events.json()["data"]]


@pytest.fixture
def distant(caller, sandbox, active):
    """The active subscription, due in 40 hours, with the alert 24 hours before."""
    caller.update("order_subscriptions", active["id"], next_run_at="2040-02-01T22:00:00Z", renewal_alert_period=24)
    assert alerts(caller, active["id"]) == ["2040-01-31T05:59:00.000Z"]  # for the run at 06:00, before it moved
    return active["id"]


def test_a_new_alert_period_moves_the_alert(caller, sandbox, distant):
    caller.update("order_subscriptions", distant, renewal_alert_period=2)
    sandbox.advance(86_400)
    caller.log_in()
    assert len(alerts(caller, distant)) == 1
    sandbox.advance(86_400)
    caller.log_in()

    assert alerts(caller, distant)[0] == "2040-02-01T20:00:00.000Z"
    assert len(alerts(caller, distant)) == 2


def test_an_alert_that_is_moved_into_the_past_comes_at_once_and_only_once(caller, sandbox, distant):
    caller.update("order_subscriptions", distant, renewal_alert_period=720)
    sandbox.advance(0)
    assert len(alerts(caller, distant)) == 2
    sandbox.advance(86_400)
    caller.log_in()

    assert len(alerts(caller, distant)) == 2


def test_a_subscription_that_no_longer_expires_has_its_alert_and_its_run(caller, sandbox, distant):
    caller.update("order_subscriptions", distant, expires_at="2040-02-01T00:00:00Z")
    sandbox.set_clock("2040-02-01T00:00:00Z")
    caller.log_in()
    assert len(alerts(caller, distant)) == 1
    caller.update("order_subscriptions", distant, expires_at=None)
    sandbox.advance(0)
    assert len(alerts(caller, distant)) == 2
    sandbox.advance(86_400)
    caller.log_in()

    assert len(runs(caller, distant)) == 1


def test_a_reactivated_subscription_does_not_catch_up_on_missed_runs(caller, sandbox, active):
    caller.update("order_subscriptions", active["id"], _deactivate=True)
    sandbox.set_clock("2040-03-05T00:00:00Z")
    caller.log_in()
    subscription = caller.update("order_subscriptions", active["id"], _activate=True).json()["data"]["attributes"]
    sandbox.advance(60)

    assert subscription["next_run_at"] == "2040-03-31T06:00:00.000Z"
    assert runs(caller, active["id"]) == []


@pytest.mark.parametrize("after", ["active", "inactive"])
def test_a_run_ends_when_its_copy_is_deleted(caller, sandbox, active, after):
    sandbox.advance(60.1)
    copy_id = runs(caller, active["id"])[0]["id"]
    if after == "inactive":
        caller.update("order_subscriptions", active["id"], _deactivate=True)
    assert caller.http.delete(f"/order_copies/{copy_id}").status_code == 204

    subscription = caller.attributes("order_subscriptions", active["id"])
    assert subscription["status"] == after
    assert (subscription["occurrencies"], subscription["errors_count"]) == (0, 0)
    sandbox.set_clock("2040-03-01T00:00:00Z")
    caller.log_in()
    assert len(runs(caller, active["id"])) == (after == "active")


def test_a_subscription_cancelled_while_it_runs_stays_cancelled(caller, sandbox, active):
    sandbox.advance(60.1)
    caller.update("order_subscriptions", active["id"], _cancel=True)
    sandbox.advance(60)

    assert caller.attributes("order_subscriptions", active["id"])["status"] == "cancelled"
    assert caller.update("order_subscriptions", active["id"], _activate=True).status_code == 422


def test_next_run_at_must_be_in_the_future(caller, active):
    refused = caller.update("order_subscriptions", active["id"], next_run_at="2040-01-31T05:59:00Z")

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["source"]["pointer"] == "/data/attributes/next_run_at"


def test_a_subscription_on_a_placed_order_is_active_at_once(caller, source):
    created = caller.create(
        "order_subscriptions", {"frequency": "weekly"}, source_order=("orders", source["source_order_id"])
    ).json()["data"]["attributes"]

    assert created["status"] == "active"
    assert created["place_target_order"] is True
    assert created["renewal_alert_period"] == 1


def test_a_subscription_that_its_source_order_does_not_activate_needs_a_start_and_begins_as_draft(caller, source):
    related = {"source_order": ("orders", source["source_order_id"])}
    attributes = {"frequency": "0 6 1 * *", "activate_by_source_order": False}

    refused = caller.create("order_subscriptions", attributes, **related)
    created = caller.create("order_subscriptions", {**attributes, "starts_at": "2050-01-01T06:00:00Z"}, **related)

    assert refused.json()["errors"][0]["source"]["pointer"] == "/data/attributes/starts_at"
    assert created.json()["data"]["attributes"]["status"] == "draft"


@pytest.mark.parametrize(
    ("frequency", "valid"),
    [
        ("hourly", True), ("two-month", True), ("two-months", True), ("0 6 1 * *", True), ("0 */2 * * *", True),
        ("* * * * *", False), ("fortnightly", False), ("0 0 30 2 *", False), ("", False),
    ],
)  # fmt: skip
def test_a_frequency_is_a_name_or_a_crontab_line_that_is_not_faster_than_hourly(frequency, valid):
    assert is_frequency(frequency) is valid


def test_the_next_run_after_one_long_ago_is_found_without_counting_every_run():
    run, now = datetime.fromisoformat("0001-01-01T06:00:00Z"), datetime.fromisoformat("2026-03-01T06:30:00Z")

    assert first_after(now, "hourly", run, 1) == datetime.fromisoformat("2026-03-01T07:00:00Z")
    assert first_after(now, "monthly", run, 1) == datetime.fromisoformat("2026-04-01T06:00:00Z")


def test_an_automatic_subscription_makes_recurring_order_copies(caller, sandbox, active):
    automatic = sandbox.create_subscription(status="active", adopted=False, automatic=True, next_run_at=DUE)
    sandbox.advance(80)

    recurring = caller.get(f"/order_subscriptions/{automatic['id']}/recurring_order_copies").json()["data"]
    assert [copy["attributes"]["status"] for copy in recurring] == ["completed"]
    assert runs(caller, automatic["id"]) == []
    assert len(runs(caller, active["id"])) == 1


def test_placing_the_source_order_activates_the_subscription_that_waits_for_it(caller, sandbox, active):
    copy_id = caller.copy(active["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    order_id = caller.target(copy_id)["id"]
    created = caller.create("order_subscriptions", {"frequency": "monthly"}, source_order=("orders", order_id))
    subscription = created.json()["data"]
    assert subscription["attributes"]["status"] == "draft"

    caller.update("orders", order_id, _place=True)

    assert caller.attributes("order_subscriptions", subscription["id"])["status"] == "active"
