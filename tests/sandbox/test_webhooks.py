"""Webhooks: what a delivery contains, how it is signed and retried, and when the circuit opens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import pytest

from blocks.sandbox.running import SandboxFailed


class Listener:
    """An HTTP server that keeps the requests it receives and answers with `statuses` in turn, then with 200."""

    def __init__(self) -> None:
        self.received: Queue[tuple[dict[str, str], bytes]] = Queue()
        self.statuses: list[int] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.received.put((dict(self.headers), body))
                self.send_response(listener.statuses.pop(0) if listener.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def next(self) -> tuple[dict[str, str], bytes]:
        return self.received.get(timeout=60)


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def subscribe(caller, listener):
    made = []

    def _subscribe(topic, **attributes):
        answer = caller.create("webhooks", {"topic": topic, "callback_url": listener.url, **attributes}).json()["data"]
        made.append(answer["id"])
        return answer

    yield _subscribe
    for webhook_id in made:
        caller.log_in()
        caller.http.delete(f"/webhooks/{webhook_id}")


def callbacks(caller, webhook_id, count):
    """The stored deliveries, once there are `count` of them."""
    while True:
        found = caller.get(f"/webhooks/{webhook_id}/last_event_callbacks", **{"page[size]": 25}).json()["data"]
        if len(found) >= count:
            return found


def test_a_delivery_is_signed_over_its_raw_body(caller, listener, subscribe, source):
    webhook = subscribe("order_copies.create", include_resources=["source_order"])
    copy_id = caller.copy(source["source_order_id"])
    headers, body = listener.next()

    secret = webhook["attributes"]["shared_secret"]
    assert len(secret) == 32
    expected = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    assert headers["X-CommerceLayer-Signature"] == expected
    assert headers["X-CommerceLayer-Topic"] == "order_copies.create"
    document = json.loads(body)
    assert document["data"]["id"] == copy_id
    assert document["data"]["links"]["self"] == f"/api/order_copies/{copy_id}"
    assert document["included"][0]["id"] == source["source_order_id"]


def test_creation_start_and_completion_of_a_copy_are_delivered(caller, sandbox, listener, subscribe, source):
    expected = {"order_copies.create", "order_copies.start", "order_copies.complete"}
    for topic in expected:
        subscribe(topic)
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)

    told = set()
    while told != expected:  # copies of other tests complete, too; next() raises when nothing arrives
        headers, body = listener.next()
        if json.loads(body)["data"]["id"] == copy_id:
            told.add(headers["X-CommerceLayer-Topic"])


def test_a_failed_delivery_is_repeated_and_each_attempt_is_stored(caller, sandbox, listener, subscribe, source):
    webhook = subscribe("order_copies.create")
    listener.statuses = [500, 503]
    caller.copy(source["source_order_id"])
    for attempts in (1, 2, 3):
        listener.next()
        stored = callbacks(caller, webhook["id"], attempts)
        sandbox.advance(60)

    assert sorted(one["attributes"]["response_code"] for one in stored) == ["200", "500", "503"]
    assert caller.attributes("webhooks", webhook["id"])["circuit_failure_count"] == 0


def test_thirty_failures_open_the_circuit_until_it_is_reset(caller, sandbox, listener, subscribe, source):
    webhook = subscribe("order_copies.create")
    listener.statuses = [500] * 30
    for _ in range(30):
        caller.http.delete(f"/order_copies/{caller.copy(source['source_order_id'])}")
    deliveries = [listener.next() for _ in range(30)]
    callbacks(caller, webhook["id"], 25)
    while caller.attributes("webhooks", webhook["id"])["circuit_failure_count"] < 30:
        pass
    assert len(deliveries) == 30
    assert caller.attributes("webhooks", webhook["id"])["circuit_state"] == "open"

    caller.copy(source["source_order_id"])
    sandbox.advance(5)
    assert listener.received.empty()
    reset = caller.update("webhooks", webhook["id"], _reset_circuit=True).json()["data"]["attributes"]
    assert (reset["circuit_state"], reset["circuit_failure_count"]) == ("closed", 0)
    caller.copy(source["source_order_id"])
    listener.next()


def test_a_disabled_webhook_is_not_called(caller, listener, subscribe, source):
    webhook = subscribe("order_copies.create")
    assert caller.update("webhooks", webhook["id"], _disable=True).json()["data"]["attributes"]["disabled_at"]
    caller.copy(source["source_order_id"])
    caller.update("webhooks", webhook["id"], _enable=True)
    copy_id = caller.copy(source["source_order_id"])

    assert json.loads(listener.next()[1])["data"]["id"] == copy_id


def test_a_change_that_was_rolled_back_is_not_delivered(caller, listener, subscribe, sandbox, source):
    webhook = subscribe("orders.approve")
    order_id = source["source_order_id"]
    refused = caller.update("orders", order_id, reference="undone", _approve=True, _refund=True)
    assert refused.status_code == 422
    caller.update("orders", order_id, reference="done", _approve=True)

    assert json.loads(listener.next()[1])["data"]["attributes"]["reference"] == "done"
    assert len(callbacks(caller, webhook["id"], 1)) == 1


def test_the_sandbox_can_deliver_each_event_twice(caller, sandbox, listener, subscribe, source):
    subscribe("order_copies.create")
    sandbox.deliver_webhooks(copies=2)
    caller.copy(source["source_order_id"])
    first, second = listener.next(), listener.next()
    sandbox.deliver_webhooks(copies=1)

    assert first[1] == second[1]


def test_the_event_of_a_deleted_resource_contains_only_its_id(caller, listener, subscribe, source):
    subscribe("order_copies.destroy")
    copy_id = caller.copy(source["source_order_id"])
    caller.http.delete(f"/order_copies/{copy_id}")
    data = json.loads(listener.next()[1])["data"]

    assert data["id"] == copy_id
    assert set(data["attributes"].values()) == {None}


def test_an_event_can_be_triggered_again(caller, listener, subscribe, source):
    webhook = subscribe("order_copies.create")
    copy_id = caller.copy(source["source_order_id"])
    first = listener.next()
    event = caller.get(f"/order_copies/{copy_id}/events").json()["data"][0]
    caller.update("events", event["id"], _trigger=True)

    assert listener.next()[1] == first[1]
    assert len(caller.get(f"/order_copies/{copy_id}/events").json()["data"]) == 1
    callbacks(caller, webhook["id"], 2)
    assert len(caller.get(f"/events/{event['id']}/last_event_callbacks").json()["data"]) == 2


def test_the_event_of_a_deleted_resource_can_be_triggered_again(caller, listener, subscribe, source):
    subscribe("order_copies.destroy")
    earlier = caller.filtered("/events", name_eq="order_copies.destroy")
    copy_id = caller.copy(source["source_order_id"])
    caller.http.delete(f"/order_copies/{copy_id}")
    first = listener.next()
    (event,) = [each for each in caller.filtered("/events", name_eq="order_copies.destroy") if each not in earlier]
    assert caller.update("events", event["id"], _trigger=True).status_code == 200

    assert listener.next()[1] == first[1]


def test_a_delivery_includes_related_resources_and_ignores_unknown_names(caller, listener, subscribe, source):
    subscribe("order_copies.create", include_resources=["source_order.customer", "event_stores", "colour"])
    caller.copy(source["source_order_id"])

    included = {(one["type"], one["id"]) for one in json.loads(listener.next()[1])["included"]}
    assert included == {("orders", source["source_order_id"]), ("customers", source["customer_id"])}


def test_a_webhook_needs_an_http_callback_url(caller):
    assert caller.create("webhooks", {"topic": "orders.place"}).status_code == 422
    assert caller.create("webhooks", {"topic": "orders.place", "callback_url": "ftp://x"}).status_code == 422


@pytest.mark.parametrize("copies", [True, 0, 11, "2", None])
def test_how_often_calls_are_delivered_is_a_number_from_1_to_10(sandbox, copies):
    with pytest.raises(SandboxFailed, match=r"copies_per_delivery is .*; it lies between 1 and 10"):
        sandbox.deliver_webhooks(copies)
