"""Rate limits: sliding windows, the recorded headers, and a 429 with a useless Retry-After."""

from __future__ import annotations

import pytest

from blocks.sandbox.http.limits import Limits
from blocks.sandbox.http.messages import Request
from blocks.sandbox.running import RunningSandbox
from blocks.sandbox.settings import Settings


class Address:
    """One source address that sends requests to a limiter, whose clock the test moves."""

    def __init__(self, **settings) -> None:
        self.now = 1000.0
        self.limits = Limits(Settings(limit_clock="virtual", **settings), lambda: self.now)

    def ask(self, method, path, peer="10.0.0.1"):
        return self.limits.admit(Request(method, path, "", {}, b"", peer))

    def passed(self, times, method, path, every=0.0):
        passed = 0
        for _ in range(times):
            passed += self.ask(method, path).passes
            self.now += every
        return passed


@pytest.mark.parametrize(
    ("mode", "method", "path", "average", "burst"),
    [
        ("test", "POST", "/api/order_copies", 100, 25),
        ("live", "POST", "/api/order_copies", 200, 50),
        ("test", "GET", "/api/order_copies", 100, 25),
        ("live", "GET", "/api/orders/x", 200, 50),
        ("test", "GET", "/api/markets", 500, 125),
        ("live", "GET", "/api/markets", 1000, 250),
    ],
)
def test_averages_and_bursts_are_those_of_the_documentation(mode, method, path, average, burst):
    assert Address(mode=mode).passed(burst + 10, method, path) == burst
    spaced = Address(mode=mode)
    assert spaced.passed(average + 10, method, path, every=10 / burst) == average


def test_the_token_endpoint_allows_thirty_requests_a_minute_in_either_mode():
    assert Address(mode="live").passed(40, "POST", "/oauth/token") == 30
    assert Address(mode="test").passed(40, "POST", "/oauth/token") == 30


def test_a_browser_asks_without_using_up_a_limit():
    assert Address().passed(200, "OPTIONS", "/api/order_copies") == 200


def test_the_window_slides():
    address = Address()
    address.passed(25, "POST", "/api/order_copies")
    assert not address.ask("POST", "/api/order_copies").passes
    address.now += 9.9
    assert not address.ask("POST", "/api/order_copies").passes
    address.now += 0.2
    assert address.ask("POST", "/api/order_copies").passes


def test_reads_writes_endpoints_and_addresses_are_counted_separately():
    address = Address()
    address.passed(25, "POST", "/api/order_copies")

    assert address.ask("GET", "/api/order_copies").passes
    assert address.ask("PATCH", "/api/order_subscriptions/x").passes
    assert address.ask("POST", "/api/order_copies", peer="10.0.0.2").passes


def test_all_writes_share_one_limit_unless_they_are_counted_per_method():
    shared, apart = Address(), Address(write_counters="per-method")
    for address in (shared, apart):
        for number in range(100):
            address.ask("POST", f"/api/kind{number % 10}")

    assert not shared.ask("PATCH", "/api/orders/x").passes
    assert apart.ask("PATCH", "/api/orders/x").passes


def test_refused_requests_prolong_the_block_only_if_they_are_counted():
    forgiving, strict = Address(), Address(count_blocked=True)

    assert forgiving.passed(300, "POST", "/api/order_copies", every=0.1) == 75
    assert strict.passed(300, "POST", "/api/order_copies", every=0.1) == 25


def test_the_remaining_header_already_counts_this_request():
    address = Address()

    headers = address.ask("POST", "/api/order_copies").headers
    assert headers == {"X-Ratelimit-Limit": "100", "X-Ratelimit-Interval": "60", "X-Ratelimit-Remaining": "99"}


def test_a_scaled_window_is_shorter_and_the_headers_say_so():
    address = Address(limit_scale=0.1)
    address.passed(25, "POST", "/api/order_copies")
    address.now += 1.1

    admission = address.ask("POST", "/api/order_copies")
    assert admission.passes
    assert admission.headers["X-Ratelimit-Interval"] == "6"


def test_setting_the_clock_back_forgets_only_requests_that_are_now_in_the_future():
    address = Address()
    address.passed(10, "POST", "/api/order_copies")
    address.now += 1000
    assert address.passed(30, "POST", "/api/order_copies") == 25
    address.now -= 500
    assert address.passed(30, "POST", "/api/order_copies") == 25
    address.now -= 495
    assert address.passed(30, "POST", "/api/order_copies") == 25


@pytest.fixture(scope="module")
def limited():
    with RunningSandbox() as running:
        yield running


def test_a_throttled_answer_has_an_object_for_errors_and_a_useless_retry_after(limited, make_caller):
    caller = make_caller(limited)
    answers = [caller.get("/orders") for _ in range(30)]

    statuses = [answer.status_code for answer in answers]
    assert statuses == [200] * 25 + [429] * 5
    throttled = answers[-1]
    assert throttled.json() == {"errors": {"title": "Too Many Requests", "code": "THROTTLED", "status": 429}}
    assert throttled.headers["retry-after"] == "0"
    assert throttled.headers["content-type"] == "application/json; charset=utf-8"
    assert throttled.headers["x-ratelimit-interval"] == "60"
    assert limited.counters()["throttled"] == 5
    assert answers[0].headers["x-ratelimit-remaining"] == "99"
    limited.forget_limits()
    assert caller.get("/orders").status_code == 200
