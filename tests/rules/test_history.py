"""What the shop's records tell about past renewals: their failed attempts, and how they were renewed."""

from rules.making import POLICY, at, copy, order

from blocks.commerce_layer.resource_errors import ResourceError
from blocks.policy import FailureClass, Policy
from flows.rules.history import PastRenewal, past_renewals

REF = "SubAbcdefg@2026-03-01T06:00Z"


def errors(*moments: str, message: str = "Your card was declined", name: str = "payment_source"):
    return [ResourceError(name=name, message=message, created_at=at(moment)) for moment in moments]


def past(*copies, told=()) -> PastRenewal:
    (renewal,) = past_renewals(copies, {"TgtAbcdefg": list(told)}).values()
    return renewal


def placed(attempt=None, status="placed", placed_at="2026-03-05T06:00Z", **fields):
    ours = {"perennial": {"subscription_id": "SubAbcdefg", "period": "2026-03-01T06:00Z", "attempt": attempt}}
    return order(status, **{"placed_at": placed_at, "metadata": ours, **fields})


def test_errors_of_the_order_and_failed_copies_are_attempts_in_the_order_of_time() -> None:
    out_of_stock = copy(REF, "failed", failed_at="2026-03-01T06:01Z", errors_log={"line_items": ["is out of stock"]})
    again = copy(f"{REF}#2", target=placed())

    renewal = past(out_of_stock, again, told=errors("2026-03-02T06:00", "2026-03-02T06:00:10", "2026-03-04T06:00"))

    failed = renewal.failed(POLICY)
    assert [each.at for each in failed] == [at("2026-03-01T06:01"), at("2026-03-02T06:00"), at("2026-03-04T06:00")]
    assert [each.failure.cls.value for each in failed] == ["stock", "payment", "payment"]
    assert renewal.attempt_that_renewed(failed) == 4
    assert renewal.class_before(failed) is FailureClass.PAYMENT


def test_errors_after_the_order_was_placed_are_no_attempts() -> None:
    assert past(copy(REF, target=placed()), told=errors("2026-03-09T06:00")).failed(POLICY) == []


def test_a_copy_that_failed_when_it_was_made_ahead_is_no_attempt() -> None:
    ahead = copy(
        REF, "failed", created_at="2026-02-28T06:00Z", failed_at="2026-02-28T06:01Z", errors_log={"base": ["no stock"]}
    )

    renewal = past(ahead, copy(REF, target=placed()))

    assert renewal.failed(POLICY) == []
    assert renewal.attempt_that_renewed([]) == 1


def test_the_same_failures_are_classed_as_the_policy_at_hand_reads_them() -> None:
    renewal = past(copy(REF, target=placed()), told=errors("2026-03-02T06:00", message="conto sospeso"))
    taught = Policy(failure_patterns={"conto sospeso": "catalogue"})

    assert renewal.failed(taught)[0].failure.cls is FailureClass.CATALOGUE
    assert renewal.failed(POLICY)[0].failure.cls is not FailureClass.CATALOGUE


def test_an_attempt_that_left_no_error_is_known_by_what_the_placement_wrote() -> None:
    order_of_third = placed(attempt=3)
    order_of_third.metadata["perennial"]["failures"] = {"transient": 2}

    renewal = past(copy(REF, target=order_of_third))

    assert renewal.attempt_that_renewed([]) == 3
    assert renewal.class_before([]) is FailureClass.TRANSIENT


def test_what_others_wrote_where_our_attempt_stands_is_passed_over() -> None:
    odd = placed(attempt="many")
    odd.metadata["perennial"]["failures"] = ["payment"]
    renewal = past(copy(REF, target=odd))

    assert renewal.attempt_that_renewed([]) == 1
    assert renewal.class_before([]) is FailureClass.UNKNOWN
    assert not past(copy(REF, target=placed(metadata={"perennial": {"subscription_id": "x"}}))).is_paid_by_customer


def test_an_order_without_our_note_was_paid_by_the_customer_at_the_checkout() -> None:
    at_checkout = order("placed", placed_at="2026-03-05T06:00Z", metadata={"perennial": {"reported": "refunded"}})

    assert past(copy(REF, target=at_checkout)).is_paid_by_customer
    assert not past(copy(REF, target=placed())).is_paid_by_customer
    assert not past(copy(REF, target=order("pending"))).is_paid_by_customer


def test_a_placed_order_that_was_cancelled_or_refunded_is_renewed_and_lost() -> None:
    for gone in (placed(status="cancelled"), placed(payment_status="refunded")):
        renewal = past(copy(REF, target=gone))
        assert renewal.placed_at == at("2026-03-05T06:00")
        assert renewal.is_lost
    assert not past(copy(REF, target=placed())).is_lost
    assert not past(copy(REF, target=order("cancelled", payment_status="unpaid"))).is_lost


def test_a_renewal_without_an_order_costs_what_its_source_order_costs() -> None:
    source = {"id": "SrcAbcdefg", "status": "placed", "total_amount_with_taxes_cents": 1900, "currency_code": "EUR"}

    assert str(past(copy(REF, "failed", source_order=source)).price) == "19.00 EUR"
    assert not past(copy(REF, "failed")).price.is_known


def test_copies_made_by_hand_are_no_renewals() -> None:
    assert past_renewals([copy("SrcAbcdefg@some-flow-run")], {}) == {}
