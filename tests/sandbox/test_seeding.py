"""Seeding demo data, and the sandbox's process: start, restart and end."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing

import httpx
import pytest

from blocks.sandbox.control.seeding import distribute
from blocks.sandbox.resources.resource_types import RESOURCE_TYPES
from blocks.sandbox.running import RunningSandbox, SandboxFailed
from blocks.sandbox.shop.identifiers import id_number


def test_seeded_subscriptions_are_due_adopted_and_payable(caller, sandbox):
    made = sandbox.seed(4, due="2026-02-28T06:00:00Z", instance="abc", policy={"time_zone": "Europe/Rome"})
    subscription_id = made["subscription_ids"][0]
    document = caller.get(
        f"/order_subscriptions/{subscription_id}", include="source_order,customer_payment_source"
    ).json()

    own = document["data"]["attributes"]
    assert own["status"] == "inactive"
    assert own["frequency"] == "monthly"
    assert own["next_run_at"] == "2026-02-28T06:00:00.000Z"
    assert own["starts_at"] == "2026-01-28T06:00:00.000Z"
    assert own["metadata"] == {"perennial": {"v": 1, "instance": "abc", "policy": {"time_zone": "Europe/Rome"}}}
    order, card = document["included"]
    assert order["attributes"]["status"] == "placed"
    assert card["type"] == "customer_payment_sources"


def test_a_seeded_subscription_that_is_due_on_the_31st_started_on_a_31st(caller, sandbox):
    made = sandbox.seed(1, due="2026-03-31T06:00:00Z")

    subscription = caller.attributes("order_subscriptions", made["subscription_ids"][0])
    assert subscription["starts_at"] == "2026-01-31T06:00:00.000Z"


def test_seeded_foreign_and_active_subscriptions_are_not_adopted(caller, sandbox):
    made = sandbox.seed(0, active=1, foreign=1, due="2050-01-01T00:00:00Z")
    active, foreign = (caller.attributes("order_subscriptions", one) for one in made["subscription_ids"])

    assert (active["status"], active["metadata"]) == ("active", {})
    assert (foreign["status"], foreign["metadata"]) == ("inactive", {})


def test_help_says_what_is_simulated_and_where_the_differences_are_documented():
    shown = subprocess.run(
        [sys.executable, "-m", "blocks.sandbox", "--help"], capture_output=True, text=True, check=True
    )

    assert "It simulates tokens, JSON:API, order copies, subscriptions" in shown.stdout
    assert "how it differs from Commerce Layer" in shown.stdout
    assert "docs/sandbox.md" in shown.stdout


@pytest.fixture
def fresh_sandbox(make_caller):
    with RunningSandbox("--limits", "off", "--clock", "2026-03-01T06:00:00Z", "--frozen") as running:
        yield running, make_caller(running)


@pytest.mark.slow
def test_a_hundred_thousand_subscriptions_are_seeded_and_listed(fresh_sandbox):
    running, caller = fresh_sandbox
    running.seed(100_000, due="2026-03-01T06:00:00Z", spread_seconds=86_400)

    page = caller.get("/order_subscriptions", sort="-next_run_at", include="source_order,customer").json()
    assert page["meta"]["record_count"] == 100_000
    assert page["data"][0]["attributes"]["next_run_at"] == "2026-03-02T06:00:00.000Z"
    assert (
        len(caller.filtered("/order_subscriptions", next_run_at_lt="2026-03-01T06:00:02Z", status_eq="inactive")) == 3
    )
    assert caller.get("/orders", sort="id").json()["meta"]["page_count"] == 10_000


@pytest.mark.parametrize(
    ("mix", "expected"),
    [
        ({"declined": 3, "stuck": 1}, {"declined": 3, "stuck": 1, None: 96}),
        ({"declined": 0.25}, {"declined": 25, None: 75}),
        ({}, {None: 100}),
        ({"declined": 500}, {"declined": 100}),
    ],
)
def test_a_mix_of_failures_is_given_as_counts_or_shares(mix, expected):
    assert Counter(distribute(mix, 100, None)) == expected


def test_seeding_sets_the_requested_mix_of_failures(sandbox):
    made = sandbox.seed(20, failures={"declined": 3, "out_of_stock": 2})
    with closing(sqlite3.connect(sandbox.database)) as database:
        kinds = dict(database.execute("SELECT order_id, kind FROM sandbox_failures").fetchall())

    mine = Counter(kinds[one] for one in made["source_order_ids"] if one in kinds)
    assert mine == {"declined": 3, "out_of_stock": 2}


@pytest.mark.parametrize(
    "plan",
    [
        {"subscriptions": -1},
        {"failures": {"bad_luck": 1}},
        {"frequencies": {"fortnightly": 1}},
        {"due": "soon"},
        {"n": 1},
    ],
)
def test_a_seed_plan_that_makes_no_sense_is_refused(sandbox, plan):
    with pytest.raises(SandboxFailed):
        sandbox.seed(**plan)


def test_a_hundred_thousand_ids_differ_and_depend_on_the_seed():
    ids = {id_number(number, 1) for number in range(100_000)}

    assert len(ids) == 100_000
    assert not ids & {id_number(number, 2) for number in range(1000)}


def test_the_database_can_be_read_while_the_sandbox_writes(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"], reference="seen", metadata={"a": 1})
    with closing(sqlite3.connect(f"file:{sandbox.database}?mode=ro", uri=True)) as database:
        row = database.execute(
            "SELECT status, source_order_id, reference, metadata FROM order_copies WHERE id = ?", (copy_id,)
        ).fetchone()

    assert row == ("pending", source["source_order_id"], "seen", '{"a":1}')


@pytest.mark.parametrize("kill", [False, True])
def test_a_restarted_sandbox_continues_where_it_stopped(make_caller, kill):
    with RunningSandbox("--limits", "off", "--frozen", "--clock", "2026-03-01T06:00:00Z") as running:
        caller = make_caller(running)
        copy_id = caller.copy(running.create_subscription()["source_order_id"])
        running.advance(0.6)
        url = running.url
        running.restart(kill=kill)

        assert running.url == url
        assert running.clock().isoformat() == "2026-03-01T06:00:00.600000+00:00"
        assert caller.attributes("order_copies", copy_id)["status"] == "in_progress"  # the token is still good
        running.advance(10)
        assert caller.attributes("order_copies", copy_id)["status"] == "completed"
        assert running.create_subscription()["id"] != copy_id


def test_a_running_clock_does_not_go_back_when_the_sandbox_is_restarted():
    with RunningSandbox("--rate", "1000") as running:
        running.advance(86_400)
        before = running.clock()
        running.restart()

        assert running.clock() > before


def test_a_stopped_sandbox_can_be_started_again_and_is_empty():
    running = RunningSandbox()
    for _ in range(2):
        with running:
            assert len(running.seed(1)["subscription_ids"]) == 1
            with closing(sqlite3.connect(running.database)) as database:
                assert database.execute("SELECT COUNT(*) FROM orders").fetchone() == (1,)
    with pytest.raises(SandboxFailed, match="not running"):
        running.clock()


def test_a_sandbox_that_cannot_start_reports_its_exit_status():
    with pytest.raises(SandboxFailed, match="status 2"):
        RunningSandbox("--mode", "imaginary").start()


def test_the_sandbox_ends_when_the_process_that_started_it_is_killed():
    script = (
        "import sys, time; from blocks.sandbox.running import RunningSandbox; "
        "print(RunningSandbox().start().url, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    assert httpx.get(f"{url}/_sandbox/clock", trust_env=False).status_code == 200
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/_sandbox/clock", trust_env=False)
        except httpx.TransportError:
            return
    pytest.fail("the sandbox outlived its parent")


def test_help_names_every_option_group_and_an_example():
    text = subprocess.run(
        [sys.executable, "-m", "blocks.sandbox", "--help"], capture_output=True, text=True, check=True
    ).stdout

    for words in (
        "demo data",
        "rate limits",
        "time and copies",
        "--seed-subscriptions",
        "--write-counters",
        "examples:",
    ):
        assert words in text


def test_the_command_line_seeds_and_prints_where_it_listens():
    command = [
        sys.executable,
        "-m",
        "blocks.sandbox",
        "--port",
        "0",
        "--seed-subscriptions",
        "7",
        "--failures",
        "stuck=2",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        with closing(sqlite3.connect(ready["database"])) as database:
            assert database.execute("SELECT COUNT(*) FROM order_subscriptions").fetchone() == (7,)
            assert database.execute("SELECT COUNT(*) FROM sandbox_failures").fetchone() == (2,)
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    "members",
    [{"errors_count": "x"}, {"errors_count": -1}, {"occurrencies": 1.5}, {"failure": "declined", "times": "x"}],
)
def test_a_subscription_with_an_impossible_count_is_refused_and_the_error_names_it(sandbox, members):
    with pytest.raises(SandboxFailed, match=f"{list(members)[-1]} is .*; it is a number from 0 on"):
        sandbox.create_subscription(**members)


def test_the_openapi_description_lists_resources_and_controls(sandbox):
    described = httpx.get(f"{sandbox.url}/_sandbox/openapi.json", trust_env=False).json()

    assert described["openapi"].startswith("3.")
    assert {"get", "post"} <= set(described["paths"]["/api/order_copies"])
    assert "get" in described["paths"]["/api/order_copies/{id}/target_order"]
    assert "post" in described["paths"]["/_sandbox/faults"]


def resolved(described, part):
    while "$ref" in part:
        _, *names = part["$ref"].split("/")
        part = described
        for name in names:
            part = part[name]
    return part


def test_every_answer_of_every_operation_has_a_schema(sandbox):
    described = httpx.get(f"{sandbox.url}/_sandbox/openapi.json", trust_env=False).json()
    operations = [
        (f"{method} {path}", operation)
        for path, item in described["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]

    for label, operation in operations:
        for status, response in operation["responses"].items():
            content = resolved(described, response).get("content", {})
            schemas = [resolved(described, media["schema"]) for media in content.values()]
            assert (len(schemas) == 1) == (status not in {"204", "304"}), (label, status)
            assert all(schema["additionalProperties"] is False for schema in schemas if schema["type"] == "object")


def test_the_description_of_a_resource_follows_from_its_definition(sandbox):
    described = httpx.get(f"{sandbox.url}/_sandbox/openapi.json", trust_env=False).json()
    for kind in RESOURCE_TYPES.values():
        members = described["components"]["schemas"][kind.name]["properties"]
        assert list(members["attributes"]["properties"]) == list(kind.attributes)
        assert list(members["relationships"]["properties"]) == list(kind.relationships)
        assert members["type"] == {"const": kind.name}


def test_a_control_says_which_methods_it_has(sandbox):
    refused = httpx.put(f"{sandbox.url}/_sandbox/clock", trust_env=False)

    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, POST")
    assert httpx.get(f"{sandbox.url}/_sandbox/none", trust_env=False).status_code == 404


def test_requests_are_counted_by_method_and_endpoint(caller, sandbox, source):
    sandbox.reset_counters()
    caller.copy(source["source_order_id"])
    caller.get(f"/orders/{source['source_order_id']}")
    caller.get("/orders/none")

    counted = sandbox.counters()
    assert counted["requests"] == {"POST /api/order_copies": 1, "GET /api/orders/{id}": 2}
    assert counted["detail"]["GET /api/orders/{id}"] == {"200": 1, "404": 1}
    assert counted["total"] == 3
