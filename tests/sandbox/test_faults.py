"""Injected network faults: what the caller sees, and whether the sandbox carried the request out."""

from __future__ import annotations

import socket

import httpx
import pytest

COPIES = "/api/order_copies"


def attempt(caller, source, reference):
    return caller.create(
        "order_copies",
        {"reference": reference, "reference_origin": "perennial"},
        source_order=("orders", source["source_order_id"]),
    )


def count_copies(caller, reference):
    return len(caller.filtered("/order_copies", reference_eq=reference))


@pytest.mark.parametrize("action", ["reset", "close"])
@pytest.mark.parametrize(("when", "copies"), [("before", 0), ("after", 1)])
def test_a_dropped_request_was_carried_out_only_if_it_was_dropped_afterwards(
    caller, sandbox, source, action, when, copies
):
    sandbox.fault(action, when=when, method="POST", path=COPIES, times=1)
    with pytest.raises(httpx.TransportError):
        attempt(caller, source, f"{action}-{when}-{source['id']}")

    assert count_copies(caller, f"{action}-{when}-{source['id']}") == copies


def test_a_reset_arrives_as_a_tcp_reset_before_any_byte(caller, sandbox):
    sandbox.fault("reset", times=1)
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /api/orders HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


@pytest.mark.parametrize(("when", "copies"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize(
    ("body", "start"), [("html", b"<html>"), ("json", b'{"errors"'), ("nothing to see", b"nothing")]
)
def test_an_injected_status_does_not_tell_whether_the_request_was_carried_out(
    caller, sandbox, source, when, copies, body, start
):
    reference = f"status-{when}-{body[:4]}-{source['id']}"
    sandbox.fault("status", status=502, body=body, when=when, method="POST", path=COPIES, times=1)
    answer = attempt(caller, source, reference)

    assert answer.status_code == 502
    assert answer.content.startswith(start)
    assert count_copies(caller, reference) == copies


@pytest.mark.parametrize(
    ("status", "code", "title"),
    [
        (401, "UNAUTHORIZED", "Access denied"),
        (403, "FORBIDDEN", "Forbidden"),
        (404, "RECORD_NOT_FOUND", "Record not found"),
        (409, "RECORD_NOT_UNIQUE", "Record not unique"),
        (415, "UNSUPPORTED_MEDIA_TYPE", "Unsupported media type"),
        (422, "VALIDATION_ERROR", "is invalid"),
        (423, "LOCKED", "Locked resource"),
        (500, "INTERNAL_SERVER_ERROR", "Internal server error"),
        (503, "INTERNAL_SERVER_ERROR", "Internal server error"),
    ],
)
def test_a_json_fault_has_the_error_that_the_api_sends_with_that_status(caller, sandbox, status, code, title):
    sandbox.fault("status", status=status, body="json", times=1)
    answer = caller.get("/orders")

    error = answer.json()["errors"][0]
    assert (answer.status_code, error["status"], error["code"], error["title"]) == (status, str(status), code, title)
    assert error["detail"]


def test_a_json_fault_with_429_looks_like_throttling_even_if_the_request_was_carried_out(caller, sandbox, source):
    reference = f"edge-{source['id']}"
    sandbox.fault("status", status=429, body="json", when="after", method="POST", path=COPIES, times=1)
    answer = attempt(caller, source, reference)

    assert answer.json() == {"errors": {"title": "Too Many Requests", "code": "THROTTLED", "status": 429}}
    assert not {"etag", "x-request-id"} & answer.headers.keys()
    assert answer.headers["retry-after"] == "0"
    assert count_copies(caller, reference) == 1


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("body", ["html", "json", "some text"])
def test_a_status_without_a_body_leaves_nothing_in_the_connection(caller, sandbox, status, body):
    sandbox.fault("status", status=status, body=body, path="/api/organization", times=1)
    answers = [caller.get("/organization") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [status, 200]
    assert answers[0].content == b""


def test_a_fault_that_damages_bodies_does_not_affect_an_answer_without_one(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"])
    sandbox.fault("malformed", method="DELETE", times=1)

    assert caller.http.delete(f"/order_copies/{copy_id}").content == b""
    assert caller.get("/organization").status_code == 200


def test_a_delayed_request_is_carried_out_even_if_the_caller_has_given_up(caller, sandbox, source):
    reference = f"delay-{source['id']}"
    sandbox.fault("delay", when="before", seconds=0.3, method="POST", path=COPIES, times=1)
    caller.http.timeout = httpx.Timeout(0.1)
    with pytest.raises(httpx.ReadTimeout):
        attempt(caller, source, reference)
    assert count_copies(caller, reference) == 0
    caller.http.timeout = httpx.Timeout(5.0)

    sandbox.fault("delay", when="after", seconds=0.3, method="GET", path="/api/organization", times=1)
    caller.get("/organization")  # takes longer than what was left of the first delay

    assert count_copies(caller, reference) == 1


def test_a_late_request_is_carried_out_when_the_sandbox_clock_has_moved(caller, sandbox, source):
    reference = f"late-{source['id']}"
    sandbox.fault("late", seconds=30, method="POST", path=COPIES, times=1)
    with pytest.raises(httpx.TransportError):
        attempt(caller, source, reference)

    sandbox.advance(29)
    assert count_copies(caller, reference) == 0
    sandbox.advance(2)
    assert count_copies(caller, reference) == 1


def test_a_truncated_body_is_shorter_than_its_content_length(caller, sandbox):
    sandbox.fault("truncate", path="/api/organization", times=1)

    with pytest.raises(httpx.TransportError):
        caller.get("/organization")


def test_a_malformed_body_has_status_200_and_is_not_json(caller, sandbox):
    sandbox.fault("malformed", path="/api/organization", times=1)
    answer = caller.get("/organization")

    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"."):
        answer.json()


def test_a_slow_body_arrives_late_and_complete(caller, sandbox):
    sandbox.fault("slow", seconds=0.2, path="/api/organization", times=1)
    answer = caller.get("/organization")

    assert answer.elapsed.total_seconds() >= 0.15
    assert answer.json()["data"]["attributes"]["slug"] == sandbox.organization


def test_a_request_that_is_answered_by_an_injected_429_is_not_carried_out(caller, sandbox, source):
    sandbox.fault("throttle", method="POST", path=COPIES, times=1)
    answer = attempt(caller, source, f"throttled-{source['id']}")

    assert answer.status_code == 429
    assert answer.json()["errors"]["code"] == "THROTTLED"
    assert count_copies(caller, f"throttled-{source['id']}") == 0


def test_the_revoke_fault_invalidates_the_token_of_the_request(caller, sandbox, source):
    sandbox.fault("revoke", method="POST", path=COPIES, times=1)

    assert attempt(caller, source, "revoked").json()["errors"][0]["code"] == "INVALID_TOKEN"
    caller.log_in()
    assert attempt(caller, source, f"revoked-{source['id']}").status_code == 201


def test_a_fault_hits_exactly_the_requests_that_nth_names(caller, sandbox):
    sandbox.fault("status", path="/api/organization", nth=[2, 4])
    statuses = [caller.get("/organization").status_code for _ in range(6)]

    assert statuses == [200, 500, 200, 500, 200, 200]
    assert sandbox.faults() == []


def test_a_fault_can_match_a_reference_in_body_or_query(caller, sandbox, source):
    sandbox.fault("status", match=f"needle-{source['id']}", times=2)

    assert attempt(caller, source, "hay").status_code == 201
    assert attempt(caller, source, f"needle-{source['id']}").status_code == 500
    assert caller.http.get(f"/order_copies?filter[q][reference_eq]=needle-{source['id']}").status_code == 500


def test_a_fault_with_a_share_hits_about_that_share_of_requests(caller, sandbox):
    sandbox.fault("status", path="/api/organization", share=0.3)
    hits = sum(caller.get("/organization").status_code == 500 for _ in range(200))

    assert 35 <= hits <= 85
    assert sandbox.faults()[0]["hits"] == hits


def test_the_path_of_a_fault_can_have_a_wildcard(caller, sandbox, source):
    sandbox.fault("status", method="PATCH", path="/api/orders/*", times=1)

    assert caller.get(f"/orders/{source['source_order_id']}").status_code == 200
    assert caller.update("orders", source["source_order_id"], reference="x").status_code == 500


@pytest.mark.parametrize(
    "members",
    [
        {"action": "explode"},
        {"action": "status", "colour": "red"},
        {"action": "status", "status": 99},
        {"action": "status", "share": 2},
        {"action": "delay", "seconds": -1},
        {"action": "reset", "match": "("},
        {"action": "reset", "when": "while"},
        {"action": "reset", "nth": [0]},
        {"action": "reset", "times": "many"},
        {"action": "reset", "times": 0},
        {"action": "reset", "times": -1},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_a_reason(sandbox, members):
    answer = httpx.post(f"{sandbox.url}/_sandbox/faults", json=members, trust_env=False)

    assert answer.status_code == 400
    assert next(reversed(list(members))) in answer.json()["error"]


def test_an_odd_answer_leaves_resources_alone_that_were_asked_for_without_attributes(caller, sandbox):
    made = sandbox.create_subscription()
    sandbox.fault("odd", changes={made["id"]: {"number": "odd"}})

    bare = caller.http.get(f"/order_subscriptions/{made['id']}", params={"fields[order_subscriptions]": "source_order"})
    whole = caller.attributes("order_subscriptions", made["id"])
    sandbox.clear_faults()

    assert bare.status_code == 200
    assert "attributes" not in bare.json()["data"]
    assert whole["number"] == "odd"
