from rules.making import at, copy, order, planned, subscription

from blocks.commerce_layer.errors import ErrorItem, Refused
from flows.rules.findings import CopyEnded, OrderAnswered, PlacementRefused
from flows.rules.next_action import Conclude, Create, Place, Wait, next_action
from flows.rules.outcomes import result_of
from flows.rules.state import Outcome

NOW = at("2026-03-01T06:05")


def test_a_due_renewal_copies_an_order_places_it_and_moves_the_date_on():
    renewal = planned()
    assert next_action(renewal, [], NOW) == Create("SubAbcdefg@2026-03-01T06:00Z")

    running = copy(renewal.reference, "in_progress")
    assert next_action(renewal, [running], NOW) == Wait(running)

    attempt = next_action(renewal, [copy(renewal.reference, "completed", order("draft"))], NOW)
    assert isinstance(attempt, Place)
    assert (attempt.order.id, attempt.attempt) == ("TgtAbcdefg", 1)

    result = result_of(renewal, OrderAnswered(attempt, order("placed")), at("2026-03-01T06:06"), "run-1")
    assert result.outcome is Outcome.RENEWED
    assert result.next_run_at == at("2026-04-01T06:00")
    assert result.state.done_through == at("2026-03-01T06:00")
    assert (result.state.attempt, result.state.flow_run_id) == (1, "run-1")
    assert result.sentence == "renewed as order #1001; next on Wed 1 Apr 06:00 UTC"


def test_the_next_run_records_an_order_that_was_placed_but_not_recorded():
    renewal = planned()
    placed = copy(renewal.reference, "completed", order("placed"))

    assert next_action(renewal, [placed], NOW) == Conclude(placed)
    result = result_of(renewal, CopyEnded(placed), NOW)
    assert result.outcome is Outcome.ALREADY_RENEWED
    assert result.next_run_at == at("2026-04-01T06:00")


def test_a_declined_card_is_tried_again_by_placing_the_same_order():
    renewal = planned()
    unplaced = copy(renewal.reference, "completed", order("pending"))
    attempt = next_action(renewal, [unplaced], NOW)
    decline = Refused(
        422, (ErrorItem(detail="was declined", pointer="/data/attributes/payment_source"),), "PATCH", "/x"
    )
    result = result_of(renewal, PlacementRefused(attempt, decline, order("pending")), at("2026-03-01T06:06"))
    assert result.outcome is Outcome.RETRY_SCHEDULED
    assert result.state.next_attempt_at == at("2026-03-02T06:06")
    assert result.sentence == "card declined; next attempt Mon 2 Mar 06:06 UTC; 2 of 5"

    again = planned(subscription(result.state), "2026-03-02T06:10")
    second = next_action(again, [unplaced], at("2026-03-02T06:10"))
    assert second == Place(unplaced, order("pending"), 2)
    result = result_of(again, OrderAnswered(second, order("placed")), at("2026-03-02T06:11"))
    assert result.outcome is Outcome.RENEWED
    assert result.next_run_at == at("2026-04-01T06:00")
