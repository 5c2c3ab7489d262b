"""Recorded failures, replayed under another policy: what is known is counted once, all else between two bounds."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rules.making import POLICY, at, copy, order, subscription

from blocks.commerce_layer.resource_errors import ResourceError
from blocks.policy import FailureClass, FinalAction, Policy
from flows.rules.history import PastRenewal, past_renewals
from flows.rules.rehearsals import End, Rehearsal, rehearse
from flows.rules.retries import ON_THE_CARD, next_attempt
from flows.rules.spans import Span

MARCH = Span(at("2026-03-01"), at("2026-04-01"))
FIRST = at("2026-03-01T06:05")
WORDS = {
    FailureClass.PAYMENT: ("payment_source", "Your card was declined"),
    FailureClass.STOCK: ("line_items", "is out of stock"),
    FailureClass.TRANSIENT: ("payment_source", "The payment gateway did not answer in time"),
}


def recorded(
    failed: Iterable[tuple[datetime, FailureClass]], renewed: datetime | None = None, *, by_customer=False, cents=1000
) -> PastRenewal:
    told = [ResourceError(name=WORDS[cls][0], message=WORDS[cls][1], created_at=moment) for moment, cls in failed]
    made = order("pending") if renewed is None else order("placed", placed_at=renewed.isoformat())
    ours = {} if by_customer or renewed is None else {"perennial": {"subscription_id": "SubAbcdefg"}}
    made = made.model_copy(update={"metadata": ours, "total_amount_with_taxes_cents": cents, "currency_code": "EUR"})
    only = copy("SubAbcdefg@2026-03-01T06:00Z", target=made)
    return next(iter(past_renewals([only], {made.id: told}).values()))


def declined(*days: float, renewed: float | None = None, by_customer=False) -> PastRenewal:
    moments = [(FIRST + timedelta(days=day), FailureClass.PAYMENT) for day in days]
    return recorded(moments, None if renewed is None else FIRST + timedelta(days=renewed), by_customer=by_customer)


def rehearsed(renewal: PastRenewal, span: Span = MARCH, **policy) -> Rehearsal:
    return rehearse([renewal], {}, span, Policy(**policy))


def bounds(rehearsal: Rehearsal) -> dict[str, str]:
    ends = {end.value: str(each) for end, each in rehearsal.ends.items() if each.most}
    return {"attempts": str(rehearsal.attempts), **ends, "not known": str(rehearsal.unknown)}


def test_the_policy_of_the_record_repeats_the_record() -> None:
    said = rehearsed(declined(0, 1, 4, renewed=9), payment_retries=["1d", "3d", "5d"])

    assert bounds(said) == {"attempts": "4", "renewed": "1", "not known": "0"}


def test_an_attempt_at_another_time_has_no_known_result() -> None:
    said = rehearsed(declined(0, 1, renewed=4), payment_retries=["1d", "2d", "7d"])

    assert bounds(said) == {"attempts": "3 to 4", "waits for a person": "0 to 1", "not known": "1"}


def test_a_recovery_by_a_retry_that_the_policy_would_not_make_is_lost_for_certain() -> None:
    said = rehearsed(declined(0, renewed=1), payment_retries=[])

    assert bounds(said) == {"attempts": "1", "waits for a person": "1", "not known": "0"}


def test_more_retries_than_were_made_are_attempts_of_unknown_result() -> None:
    said = rehearsed(declined(0, 1), payment_retries=["1d", "3d", "5d"])

    assert bounds(said) == {"attempts": "3 to 4", "waits for a person": "0 to 1", "not known": "1"}


def test_a_retry_after_the_end_of_the_span_is_no_attempt_in_it() -> None:
    said = rehearsed(declined(0), payment_retries=["40d"])

    assert bounds(said) == {"attempts": "1", "waits for a retry": "1", "not known": "0"}


def test_attempts_before_the_span_are_replayed_and_not_counted() -> None:
    from_the_third = Span(at("2026-03-03"), at("2026-04-01"))

    said = rehearsed(declined(0, 1, renewed=4), from_the_third, payment_retries=["1d", "3d"])

    assert bounds(said) == {"attempts": "1", "renewed": "1", "not known": "0"}
    assert rehearsed(declined(0, 1), from_the_third).renewals == 0, "nothing happened to it in the span"


def test_a_customer_who_paid_while_the_renewal_waited_or_was_held_has_paid_under_every_policy() -> None:
    paid = declined(0, renewed=6, by_customer=True)

    assert bounds(rehearsed(paid, payment_retries=["9d"])) == {"attempts": "1", "renewed": "1", "not known": "0"}
    assert bounds(rehearsed(paid, payment_retries=[])) == {"attempts": "1", "renewed": "1", "not known": "0"}
    several = rehearsed(paid, payment_retries=["1d", "3d", "5d"])
    assert bounds(several) == {"attempts": "2 to 3", "renewed": "1", "not known": "1"}
    skipped = rehearsed(paid, payment_retries=[], final_action="skip_period")
    assert bounds(skipped) == {"attempts": "1", "given up": "1", "not known": "0"}, "its order would be cancelled"


def test_a_hard_decline_is_held_whatever_the_retries() -> None:
    lost = ResourceError(name="payment_source", message="Do not retry: lost or stolen card", created_at=FIRST)
    (renewal,) = past_renewals(
        [copy("SubAbcdefg@2026-03-01T06:00Z", target=order("pending"))], {"TgtAbcdefg": [lost]}
    ).values()

    said = rehearsed(renewal, payment_retries=["1d"] * 5, final_action="cancel")

    assert bounds(said) == {"attempts": "1", "waits for a person": "1", "not known": "0"}


def test_retries_that_the_card_networks_put_off_are_counted() -> None:
    said = rehearsed(declined(0), payment_retries=["1h", "1h", "1h"], max_attempts_per_day=2)

    assert str(said.card_limits) == "0 to 1", "the third charge of a day waits; the fourth is a day after the second"


def test_a_subscriptions_own_retries_replace_those_of_the_policy() -> None:
    own = subscription({"policy": {"payment_retries": ["1d"]}})
    broken = subscription({"policy": {"payment_retries": ["soon"]}})

    for sub, attempts in ((own, "2"), (broken, "1")):
        said = rehearse([declined(0, renewed=1)], {"SubAbcdefg": sub}, MARCH, Policy(payment_retries=[]))
        assert str(said.attempts) == attempts


def test_a_cap_of_the_day_puts_off_the_charges_that_are_beyond_it_once_each() -> None:
    days = [0, 0, 0, 1, 4]
    placed = [recorded([], FIRST + timedelta(days=day, minutes=number)) for number, day in enumerate(days)]

    said = rehearse(placed, {}, MARCH, Policy(max_renewals_per_day=1))
    money = rehearse(placed, {}, MARCH, Policy(max_amount_per_day={"EUR": 2000}))

    assert (said.capped_days, said.capped_orders) == (3, 3), "two are left of the first day, one more of the second"
    assert (money.capped_days, money.capped_orders) == (1, 1)
    assert rehearse(placed, {}, MARCH, POLICY).capped_days == 0


DELAYS = st.lists(st.sampled_from(["10m", "6h", "1d", "2d", "5d", "9d"]), max_size=5)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    retries = {f"{cls}_retries": draw(DELAYS) for cls in WORDS}
    action = draw(st.sampled_from(["hold", "skip_period"]))
    return Policy(**retries, final_action=action, max_attempts_per_day=draw(st.integers(1, 5)))


@st.composite
def histories(draw: st.DrawFn, policy: Policy) -> tuple[PastRenewal, End, int]:
    """A renewal as sweeps under this policy made it, its end in March, and its number of attempts."""
    moment, charges, failed, counts = FIRST, list[datetime](), list[tuple[datetime, FailureClass]](), dict[str, int]()
    fails = draw(st.lists(st.sampled_from(list(WORDS)), min_size=1, max_size=7))
    for cls in fails:
        failed.append((moment, cls))
        counts[cls] = counts.get(cls, 0) + 1
        charges += [moment] if cls in ON_THE_CARD else []
        following = next_attempt(policy, cls, counts[cls], charges, moment)
        if following is None:
            end = End.HELD if policy.final_action is FinalAction.HOLD else End.GIVEN_UP
            return recorded(failed), end, len(failed)
        if following >= MARCH.end:
            return recorded(failed), End.WAITS, len(failed)
        moment = following + timedelta(minutes=draw(st.integers(0, 15)))  # when the next sweep came
        if moment >= MARCH.end:
            return recorded(failed), End.WAITS, len(failed)
    return recorded(failed, moment), End.RENEWED, len(failed) + 1


@settings(max_examples=60)
@given(st.data())
def test_whatever_happened_under_a_policy_its_rehearsal_is_what_was_recorded(data: st.DataObject) -> None:
    policy = data.draw(policies())
    renewal, end, attempts = data.draw(histories(policy))

    said = rehearse([renewal], {}, MARCH, policy)

    assert bounds(said) == {"attempts": str(attempts), end.value: "1", "not known": "0"}


@settings(max_examples=60)
@given(st.data())
def test_no_policy_is_credited_with_a_recovery_that_was_not_made(data: st.DataObject) -> None:
    renewal, end, _ = data.draw(histories(data.draw(policies())))
    other = data.draw(policies())

    said = rehearse([renewal], {}, MARCH, other)

    assert said.ends[End.RENEWED].most <= (end is End.RENEWED)
    assert sum(each.most for each in said.ends.values()) == said.renewals == 1
    assert 1 <= said.attempts.fewest <= said.attempts.most
    assert said.unknown or said.attempts.fewest == said.attempts.most


@pytest.mark.parametrize("cls", list(WORDS))
def test_the_words_of_these_tests_are_read_as_their_classes(cls: FailureClass) -> None:
    assert [each.failure.cls for each in recorded([(FIRST, cls)]).failed(POLICY)] == [cls]
