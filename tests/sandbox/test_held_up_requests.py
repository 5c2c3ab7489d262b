"""Requests that the sandbox carries out later than they arrive, and requests that it never answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from blocks.sandbox.running import RunningSandbox
from blocks.sandbox.shop.virtual_clock import text_of

COPIES = "/api/order_copies"
CREATION = {"method": "POST", "path": COPIES, "times": 1}


def create(caller, source, reference):
    return caller.create(
        "order_copies",
        {"reference": reference, "reference_origin": "perennial"},
        source_order=("orders", source["source_order_id"]),
    )


def copies_of(caller, source):
    found = caller.filtered("/order_copies", source_order_id_eq=source["source_order_id"])
    return {one["attributes"]["reference"]: one for one in found}


def test_a_copy_that_is_committed_late_can_have_the_time_of_its_arrival(caller, sandbox, source):
    arrived_at = text_of(sandbox.clock())
    sandbox.fault("late", seconds=30, stamp="arrival", **CREATION)
    with pytest.raises(httpx.TransportError):
        create(caller, source, "late")
    sandbox.advance(10)
    create(caller, source, "punctual")

    sandbox.advance(19)
    assert set(copies_of(caller, source)) == {"punctual"}
    sandbox.advance(1)
    late, punctual = (copies_of(caller, source)[name]["attributes"] for name in ("late", "punctual"))
    assert late["created_at"] == late["updated_at"] == arrived_at
    assert late["created_at"] < punctual["created_at"]


def test_a_copy_that_is_committed_late_has_the_time_of_the_commit_by_default(caller, sandbox, source):
    sandbox.fault("late", seconds=30, **CREATION)
    with pytest.raises(httpx.TransportError):
        create(caller, source, "late")
    sandbox.advance(10)
    create(caller, source, "punctual")
    sandbox.advance(20)

    late, punctual = (copies_of(caller, source)[name]["attributes"] for name in ("late", "punctual"))
    assert late["created_at"] > punctual["created_at"]


def test_a_copy_that_is_committed_late_starts_after_its_commit_and_completes(caller, sandbox, source):
    sandbox.fault("late", seconds=30, stamp="arrival", **CREATION)
    with pytest.raises(httpx.TransportError):
        create(caller, source, "late")
    committed_at = text_of(sandbox.advance(30))
    sandbox.advance(10)

    copy = copies_of(caller, source)["late"]
    assert copy["attributes"]["status"] == "completed"
    assert copy["attributes"]["started_at"] > committed_at
    events = caller.get(f"/order_copies/{copy['id']}/events").json()["data"]
    assert [event["attributes"]["name"] for event in events].count("order_copies.create") == 1


def test_a_creation_can_be_answered_before_the_copy_exists(caller, sandbox, source):
    sandbox.fault("late", seconds=30, stamp="arrival", answer="at_once", **CREATION)
    answer = create(caller, source, "answered")
    promised = answer.json()["data"]

    assert answer.status_code == 201
    assert copies_of(caller, source) == {}
    assert caller.get(f"/order_copies/{promised['id']}").status_code == 404
    sandbox.advance(30)
    assert copies_of(caller, source)["answered"] == promised


def test_two_copies_that_were_answered_before_their_commit_keep_their_own_ids(caller, sandbox, source):
    sandbox.fault("late", seconds=30, stamp="arrival", answer="at_once", **{**CREATION, "times": 2})
    promised = {name: create(caller, source, name).json()["data"]["id"] for name in ("first", "second")}
    third = create(caller, source, "third").json()["data"]["id"]
    sandbox.advance(30)

    found = {name: copy["id"] for name, copy in copies_of(caller, source).items()}
    assert found == {**promised, "third": third}


def test_a_late_request_can_be_answered_at_its_commit(caller, sandbox, source):
    sandbox.fault("late", seconds=30, stamp="arrival", answer="at_commit", **CREATION)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(create, caller, source, "awaited")
        while sandbox.faults():
            pass
        assert not waiting.done()
        sandbox.advance(30)
        answer = waiting.result(10)

    assert answer.status_code == 201
    assert copies_of(caller, source)["awaited"]["id"] == answer.json()["data"]["id"]


def test_a_request_that_is_refused_on_arrival_is_not_carried_out_later(caller, sandbox, source):
    sandbox.fault("late", seconds=30, stamp="arrival", answer="at_once", **CREATION)
    refused = caller.create("order_copies", {"reference": "nowhere"}, source_order=("orders", "none"))
    sandbox.advance(30)

    assert refused.status_code == 422
    assert caller.filtered("/order_copies", reference_eq="nowhere") == []


def test_the_token_of_a_late_request_needs_to_be_valid_only_on_arrival(caller, sandbox, source):
    sandbox.fault("late", seconds=30, stamp="arrival", **CREATION)
    with pytest.raises(httpx.TransportError):
        create(caller, source, "late")
    sandbox.revoke_tokens()
    sandbox.advance(30)
    caller.log_in()

    assert set(copies_of(caller, source)) == {"late"}


def test_a_late_commit_with_an_earlier_time_does_not_move_the_clock(caller, sandbox, source):
    sandbox.fault("late", seconds=30, stamp="arrival", **CREATION)
    with pytest.raises(httpx.TransportError):
        create(caller, source, "late")
    sandbox.advance(60)
    now = text_of(sandbox.clock())

    assert create(caller, source, "next").json()["data"]["attributes"]["created_at"] == now


@pytest.mark.parametrize(("when", "status"), [("before", "pending"), ("after", "placed")])
def test_a_placing_that_is_never_answered_was_carried_out_only_if_it_hangs_afterwards(
    caller, sandbox, source, when, status
):
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    order_id = caller.target(copy_id)["id"]
    sandbox.fault("hang", when=when, method="PATCH", path="/api/orders/*", times=1)
    caller.http.timeout = httpx.Timeout(0.3)
    with pytest.raises(httpx.ReadTimeout):
        caller.update("orders", order_id, _place=True)
    caller.http.timeout = httpx.Timeout(10.0)
    sandbox.advance(60)

    assert caller.attributes("orders", order_id)["status"] == status


def test_a_sandbox_can_be_stopped_while_a_request_waits_for_its_answer(make_caller):
    with RunningSandbox("--limits", "off", "--frozen") as running, ThreadPoolExecutor(1) as threads:
        caller = make_caller(running)
        running.fault("hang", path="/api/orders", times=1)
        waiting = threads.submit(caller.get, "/orders")
        while running.faults():
            pass
        running.restart()
        assert isinstance(waiting.exception(10), httpx.TransportError)
        assert caller.get("/orders").status_code == 200


@pytest.mark.parametrize(
    "members",
    [
        {"action": "late", "stamp": "someday"},
        {"action": "late", "answer": "never"},
        {"action": "late", "answer": "at_once"},
        {"action": "late", "stamp": "commit", "answer": "at_once"},
        {"action": "reset", "stamp": "arrival"},
        {"action": "delay", "answer": "lost"},
    ],
)
def test_a_stamp_or_an_answer_that_makes_no_sense_is_refused_with_a_reason(sandbox, members):
    answer = httpx.post(f"{sandbox.url}/_sandbox/faults", json=members, trust_env=False)

    assert answer.status_code == 400
    assert next(reversed(list(members))) in answer.json()["error"]
