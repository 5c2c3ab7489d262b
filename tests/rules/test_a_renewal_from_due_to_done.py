from rules.making import at, copy, order, planned, subscription

from flows.rules.next_action import Adopt, Create, Place, next_act
from flows.rules.outcomes import CopySettled, OrderPlaced, Outcome, judge


def test_a_due_subscription_is_copied_once_and_moves_on_to_its_next_date():
    renewal = planned()
    act = next_act(renewal, [], at("2026-03-01T06:05"))
    assert act == Create("SubAbcdefg@2026-03-01T06:00Z", 1, 1)

    done = copy(renewal.reference, "completed", order("placed"))
    verdict = judge(renewal, act, CopySettled(done), at("2026-03-01T06:06"), "run-1")

    assert verdict.outcome is Outcome.RENEWED
    assert verdict.next_run_at == at("2026-04-01T06:00")
    assert verdict.state.done_through == at("2026-03-01T06:00")
    assert (verdict.state.copies, verdict.state.attempt, verdict.state.flow_run_id) == (1, 1, "run-1")
    assert verdict.sentence == "renewed as order #1001; next on Wed 1 Apr 06:00 UTC"


def test_a_copy_that_lost_its_answer_is_adopted():
    renewal = planned()
    done = copy(renewal.reference, "completed", order("placed"))

    act = next_act(renewal, [done], at("2026-03-01T06:05"))
    assert act == Adopt(done)
    verdict = judge(renewal, act, CopySettled(done, adopted=True), at("2026-03-01T06:05"))
    assert verdict.outcome is Outcome.ALREADY_RENEWED
    assert verdict.next_run_at == at("2026-04-01T06:00")


def test_a_declined_card_is_tried_again_by_placing_the_same_order():
    renewal = planned()
    failed = copy(renewal.reference, "failed", order("pending"), errors_log={"payment_source": ["was declined"]})
    verdict = judge(renewal, next_act(renewal, [], at("2026-03-01T06:05")), CopySettled(failed), at("2026-03-01T06:06"))
    assert verdict.outcome is Outcome.RETRY_SCHEDULED
    assert verdict.state.next_attempt_at == at("2026-03-02T06:06")
    assert verdict.sentence == "card declined; next attempt Mon 2 Mar 06:06 UTC; 2 of 5"

    again = planned(subscription(verdict.state), "2026-03-02T06:10")
    act = next_act(again, [failed], at("2026-03-02T06:10"))
    assert act == Place(failed, "TgtAbcdefg", 2)
    verdict = judge(again, act, OrderPlaced(order("placed")), at("2026-03-02T06:11"))
    assert verdict.outcome is Outcome.RENEWED
    assert verdict.next_run_at == at("2026-04-01T06:00")
