"""The history of requests, which decides when the next one may be sent."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.commerce_layer.rate_limit.entries import GIVEN_UP_AFTER, Answer, Ask
from blocks.commerce_layer.rate_limit.rate_limits import Windows
from blocks.commerce_layer.rate_limit.request_history import RequestHistory
from blocks.commerce_layer.rate_limit.stores import dump, load

POST = Ask("me", "create", "POST", "order_copies")
OTHER = Ask("other", "create", "POST", "order_copies")
WINDOWS = Windows(average=4, seconds=60)


def filled(now: float) -> RequestHistory:
    history = RequestHistory()
    for number in range(4):
        assert history.take(Ask("me", "create", "POST", f"endpoint{number}"), str(number), WINDOWS, now) == 0
    return history


def test_a_request_leaves_the_window_a_minute_after_its_answer():
    history = filled(100)
    for number in range(4):
        history.settle(POST, str(number), None, WINDOWS, 105)

    assert history.take(POST, "new", WINDOWS, 164.9) > 0
    assert history.take(POST, "new", WINDOWS, 165.1) == 0


def test_the_predicted_wait_includes_requests_that_come_first():
    history, windows = RequestHistory(), Windows(average=8, seconds=60)
    for number, now in enumerate((100, 101, 103)):
        assert history.take(Ask("me", "create", "POST", f"endpoint{number}"), str(number), windows, now) == 0
        history.settle(POST, str(number), None, windows, now)

    assert [history.room(POST, ahead, windows, 105) for ahead in (0, 1)] == [0, 0]
    assert history.room(POST, 2, windows, 105) == 10  # two to an endpoint in any ten seconds
    elsewhere = Ask("me", "create", "POST", "endpoint2")
    assert history.room(elsewhere, 1, windows, 105) == 8
    for number in range(4):
        history.settle(Ask("me", "write", "PATCH", f"orders{number}"), f"patch{number}", None, windows, 105)
    assert history.room(POST, 0, windows, 105) == 0
    assert history.room(POST, 1, windows, 105) == 55
    assert len(history.entries) == 7


def test_requests_of_a_process_that_died_stop_counting_after_a_while():
    history = filled(100)

    assert history.take(POST, "new", WINDOWS, 219) > 0
    assert history.take(POST, "new", WINDOWS, 220.1) == 0


def test_a_history_from_before_a_restart_of_the_machine_is_forgotten():
    assert filled(1_000_000).take(POST, "new", WINDOWS, 30) == 0


def test_requests_that_are_just_leaving_the_window_do_not_prove_separate_counters():
    history, windows = RequestHistory(), Windows(average=100, seconds=60, guard=0.01)
    for number in range(25):
        assert history.take(POST, str(number), windows, 10.005) == 0
        history.settle(POST, str(number), Answer(200, remaining=99 - number), windows, 10.005)
    patch = Ask("me", "write", "PATCH", "orders")

    for number in range(10):  # the server's clock is 6 ms ahead: it no longer counts the first 25
        assert history.take(patch, f"patch {number}", windows, 70.0) == 0
        history.settle(patch, f"patch {number}", Answer(200, remaining=99 - number), windows, 70.0)

    assert not history.separate


def test_our_own_requests_that_have_just_left_the_window_do_not_count_as_foreign():
    history, windows = RequestHistory(), Windows(average=100, seconds=60)
    for number in range(25):
        assert history.take(POST, str(number), windows, 0.0) == 0
    for number in range(25):
        history.settle(POST, str(number), Answer(200, remaining=99 - number), windows, 0.005)
    patch = Ask("me", "write", "PATCH", "orders")
    assert history.take(patch, "slow", windows, 59.99) == 0
    assert history.take(OTHER, "later", windows, 60.2) == 0

    history.settle(patch, "slow", Answer(200, remaining=74), windows, 60.25)

    assert history.foreign == []


def test_a_429_for_a_request_that_is_no_longer_in_the_history_is_respected():
    history = RequestHistory()

    history.settle(POST, "forgotten", Answer(429, remaining=0), WINDOWS, 100)

    assert history.take(POST, "next", WINDOWS, 159) > 0
    assert history.take(POST, "next", WINDOWS, 160.1) == 0


def test_an_answered_request_that_is_missing_from_the_history_still_counts():
    history = RequestHistory()

    for number in range(4):
        history.settle(POST, str(number), None, WINDOWS, 100)

    assert history.take(Ask("me", "create", "POST", "elsewhere"), "new", WINDOWS, 159) > 0


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.001, 1.0, 9.99, 10.0, 20.0, 59.99]),  # seconds that pass
            st.sampled_from(["a", "b"]),  # the process that tries to send
            st.integers(0, 2),  # the endpoint
            st.booleans(),  # whether an answer arrives first
            st.floats(0, 1),  # when, between sending and answer, the server saw the request
        ),
        min_size=20,
        max_size=120,
    )
)
@settings(max_examples=150, deadline=None)
def test_no_window_of_the_server_ever_holds_more_than_the_limit(steps):
    history, windows, now = RequestHistory(), Windows(average=8, seconds=60), 0.0
    under_way: list[tuple[str, float, str, float]] = []
    arrivals: list[tuple[float, str]] = []
    for number, (passed, owner, endpoint_number, answered, share) in enumerate(steps):
        now += passed
        if answered and under_way:
            place, sent, endpoint, seen = under_way.pop(0)
            arrivals.append((sent + seen * (now - sent), endpoint))
            history.settle(POST, place, None, windows, now)
        endpoint = f"endpoint{endpoint_number}"
        if history.take(Ask(owner, "create", "POST", endpoint), str(number), windows, now) == 0:
            under_way.append((str(number), now, endpoint, share))
        # The server may have seen a request that is given up at any time before that.
        for lost in [one for one in under_way if now - one[1] >= GIVEN_UP_AFTER]:
            under_way.remove(lost)
            arrivals.append((lost[1] + lost[3] * GIVEN_UP_AFTER, lost[2]))

    for start, endpoint in arrivals:
        assert sum(start <= at < start + 60 for at, _ in arrivals) <= 8
        assert sum(start <= at < start + 10 for at, where in arrivals if where == endpoint) <= 2


def test_a_process_that_died_while_waiting_is_passed_over():
    history = filled(100)
    history.refund("0")
    history.waiting = {OTHER: 102.0}  # it has sent fewer requests than we have, so it would be next

    assert history.take(POST, "new", WINDOWS, 102.1) > 0
    assert history.take(POST, "new", WINDOWS, 102.3) == 0


def test_a_process_that_waits_for_a_full_endpoint_holds_up_no_other():
    history = RequestHistory()
    assert history.take(OTHER, "a", WINDOWS, 100) == 0
    assert history.take(OTHER, "b", WINDOWS, 100.1) > 0  # one request to an endpoint in ten seconds
    for place in ("c", "d"):
        history.take(Ask("me", "create", "POST", place), place, WINDOWS, 100.2)

    assert history.take(Ask("me", "write", "PATCH", "orders"), "e", WINDOWS, 100.3) == 0


def test_an_answer_without_headers_changes_no_limit():
    history = filled(100)

    history.settle(POST, "0", Answer(200), WINDOWS, 101)

    assert (history.learned_average, history.learned_seconds, history.foreign) == (None, None, [])


def test_a_history_is_the_same_after_it_was_stored():
    history = filled(100)
    history.settle(POST, "0", Answer(200, 50, 6, 3), WINDOWS, 101)
    history.settle(POST, "1", Answer(429, 50, 6, 0), WINDOWS, 102)
    history.take(OTHER, "x", WINDOWS, 103)

    assert load(dump(history)) == history
    assert history.blocked
    assert history.foreign
    assert history.waiting
