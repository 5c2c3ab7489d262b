import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import POLICY, at, copy, order, planned, subscription

from blocks.commerce_layer.errors import AuthenticationFailed, ErrorItem, Refused, WriteFateUnknown
from blocks.policy import FailureClass, Policy
from flows.rules.findings import CopyEnded, HeldBack, NotCreated, OrderAnswered, PlacementRefused, StillRunning
from flows.rules.next_action import Hold, HoldReason, Place
from flows.rules.outcomes import result_of
from flows.rules.results import RenewalResult
from flows.rules.waves import Brake, BrakePulled, Waves

NOW = at("2026-03-01T06:10")
REF = "SubAbcdefg@2026-03-01T06:00Z"
WORK = planned()
RETRY = planned(subscription({"period": "2026-03-01T06:00Z", "attempt": 1, "copies": 1, "outcome": "retry_scheduled"}))


def result(finding, work=WORK) -> RenewalResult:
    return result_of(work, finding, NOW)


ATTEMPT = Place(copy(REF, "completed", order("pending")), order("pending"), 1)
DECLINE = PlacementRefused(ATTEMPT, Refused(422, (ErrorItem(detail="declined"),), "PATCH", "/x"), order("pending"))
RENEWED = result(OrderAnswered(ATTEMPT, order()))
FOUND = result(CopyEnded(copy(REF, "completed", order())))
STOCK = result(CopyEnded(copy(REF, "failed", errors_log={"line_items": ["is out of stock"]})))
PAYMENT = result(DECLINE)
RETRIED = result(DECLINE, RETRY)
RUNNING = result(StillRunning(copy(REF, "pending")))
UNCONFIRMED = result(PlacementRefused(ATTEMPT, WriteFateUnknown("PATCH", "/api/orders/TgtAbcdefg", "timeout")))
NEVER_CREATED = result(NotCreated(WriteFateUnknown("POST", "/api/order_copies", "timeout", REF)))
LOCKED_OUT = result(NotCreated(AuthenticationFailed("check client_id", 401)))
DUPLICATE = result(HeldBack(Hold(HoldReason.DUPLICATE, "two orders are placed: a, b")))


def after(*results: RenewalResult, policy: Policy = POLICY) -> BrakePulled | None:
    brake = Brake(policy)
    for one in results:
        brake.note(one)
    return brake.pulled


def sizes_of_waves(results: list[RenewalResult], policy: Policy = POLICY) -> list[int]:
    brake, sizes, left = Brake(policy), [], list(results)
    waves = Waves(policy, brake)
    while left and brake.pulled is None:
        sizes.append(waves.next(len(left)))
        for result in left[: sizes[-1]]:
            brake.note(result)
        left = left[sizes[-1] :]
    return sizes


@pytest.mark.parametrize(
    ("total", "sizes"),
    [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (110, [10, 100]), (111, [10, 100, 1]), (9999, [10, 100, 9889])],
)
def test_a_sweep_has_a_small_wave_a_larger_one_and_the_rest(total, sizes):
    assert sizes_of_waves([RENEWED] * total) == sizes


@given(st.lists(st.sampled_from([RENEWED, RETRIED, RUNNING]), max_size=300), st.integers(1, 50), st.integers(0, 50))
def test_every_renewal_is_in_one_wave(results, first, more):
    sizes = sizes_of_waves(results, Policy(first_wave=first, second_wave=first + more, brake_share=1))
    assert sum(sizes) == len(results)
    assert all(sizes)


def test_waves_do_not_grow_until_enough_renewals_could_be_judged():
    assert sizes_of_waves([*[STOCK] * 9, RETRIED, *[STOCK] * 500]) == [10, 10]
    assert sizes_of_waves([*[RENEWED] * 5, *[UNCONFIRMED] * 2, *[RENEWED] * 500]) == [10, 10, 100, 387]


def test_waves_of_nothing_but_retries_grow():
    assert sizes_of_waves([RETRIED] * 500) == [10, 100, 390]


def test_too_many_failures_for_one_reason_pull_the_brake():
    pulled = after(*[RENEWED] * 7, *[STOCK] * 3)
    assert pulled is not None
    assert pulled.cls is FailureClass.STOCK
    assert pulled.sentence == "3 of 10 renewals failed for one reason (stock), more than 20%"


def test_as_many_failures_as_the_policy_tolerates_do_not_pull_the_brake():
    assert after(*[RENEWED] * 8, *[STOCK] * 2) is None


def test_failures_for_different_reasons_are_not_added_up():
    assert after(*[RENEWED] * 6, STOCK, PAYMENT, STOCK, PAYMENT) is None


def test_failures_do_not_pull_the_brake_before_the_first_wave_ends():
    assert after(*[STOCK] * 9) is None
    assert after(*[STOCK] * 10) is not None


def test_a_shop_that_takes_copies_and_does_not_finish_them_pulls_the_brake():
    assert after(*[RENEWED] * 8, *[RUNNING] * 2) is None
    pulled = after(*[RENEWED] * 7, *[RUNNING] * 3)
    assert pulled is not None
    assert pulled.sentence == "3 of 10 order copies did not end in time, more than 20%"


def test_copies_left_running_by_an_earlier_sweep_do_not_pull_the_brake():
    assert after(*[result(StillRunning(copy(REF, "pending")), RETRY)] * 50) is None


def test_renewals_by_an_earlier_run_count_as_successes():
    assert after(*[FOUND] * 8, STOCK, STOCK) is None


def test_missing_copies_do_not_count_as_lost_answers():
    missing = HeldBack(Hold(HoldReason.COPY_MISSING, "not found"))
    assert after(*[result(missing, RETRY)] * 20) is None


def test_failed_retries_do_not_pull_the_brake():
    assert after(*[RENEWED] * 10, *[RETRIED] * 90) is None


def test_a_share_of_one_switches_the_brake_off():
    assert after(*[STOCK] * 500, policy=Policy(brake_share=1)) is None


def test_refused_credentials_pull_the_brake():
    assert after(*[LOCKED_OUT] * 10) is not None


def test_a_shop_that_creates_nothing_pulls_the_brake_with_the_first_wave():
    assert after(*[NEVER_CREATED] * 9) is None
    pulled = after(*[NEVER_CREATED] * 10)
    assert pulled is not None
    assert pulled.cls is FailureClass.TRANSIENT


def test_a_run_of_unconfirmed_answers_pulls_the_brake_at_once():
    assert after(UNCONFIRMED, UNCONFIRMED, RENEWED, UNCONFIRMED) is None
    pulled = after(UNCONFIRMED, RUNNING, UNCONFIRMED, UNCONFIRMED)
    assert pulled is not None
    assert pulled.cls is None
    assert pulled.sentence.startswith("3 answers in a row were lost")


def test_a_duplicate_pulls_the_brake_at_once_and_for_good():
    pulled = after(DUPLICATE, *[RENEWED] * 1000)
    assert pulled is not None
    assert "two orders are placed: a, b" in pulled.sentence


@given(st.lists(st.sampled_from([RENEWED, STOCK, PAYMENT, RETRIED, RUNNING, UNCONFIRMED]), max_size=60))
def test_a_pulled_brake_stays_pulled_for_the_same_reason(results):
    brake, first = Brake(POLICY), None
    for one in results:
        brake.note(one)
        assert first is None or brake.pulled is first
        first = first or brake.pulled
