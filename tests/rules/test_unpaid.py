"""Renewals whose orders were placed and then refunded, cancelled, or never paid."""

import pytest
from rules.making import copy, order

from flows.rules.copy_periods import first_reference
from flows.rules.unpaid import is_news, is_replaced, marked, sentence_on, what_became_of

REF = "SubAbcdefg@2026-03-01T06:00Z"


def lost(status="placed", payment="refunded", told=None, **fields):
    ours = {"period": "2026-03-01T06:00Z"} | ({"reported": told} if told else {})
    metadata = {"crm": 7, "perennial": ours}
    return order(status, payment_status=payment, reference=REF, metadata=metadata, **fields)


@pytest.mark.parametrize(
    ("one", "how"),
    [(lost(), "refunded"), (lost("approved", "unpaid"), "unpaid"), (lost("cancelled", "voided"), "cancelled")],
)
def test_what_became_of_an_order_is_reported_once(one, how):
    assert what_became_of(one) == how
    assert is_news(one)
    assert is_news(lost(one.status, one.payment_status, told="partially_refunded"))
    assert not is_news(lost(one.status, one.payment_status, told=how))
    assert marked(one) == {"crm": 7, "perennial": {"period": "2026-03-01T06:00Z", "reported": how}}


def test_an_order_with_overwritten_metadata_is_still_marked():
    one = lost().model_copy(update={"metadata": {"perennial": "text"}})
    assert is_news(one)
    assert marked(one) == {"perennial": {"reported": "refunded"}}


@pytest.mark.parametrize("reference", [None, "", "ERP-4711"])
def test_an_order_whose_reference_was_changed_is_reported_under_the_reference_of_its_renewal(reference):
    ours = {"subscription_id": "SubAbcdefg", "period": "2026-03-01T06:00Z"}
    one = order(payment_status="refunded", reference=reference, metadata={"perennial": ours})
    assert is_news(one)
    assert first_reference(one) == REF


def test_the_reference_of_a_later_copy_of_version_0_1_is_kept():
    assert first_reference(order(payment_status="refunded", reference=f"{REF}#2")) == f"{REF}#2"


@pytest.mark.parametrize("reference", [None, "SrcAbcdefg@run", "by-hand"])
def test_an_order_that_no_renewal_made_is_not_reported(reference):
    assert not is_news(order(payment_status="refunded", reference=reference))


def test_one_of_two_orders_of_a_period_that_a_person_cancelled_is_replaced_by_the_other():
    one = lost("cancelled", "voided")
    of_one, other = copy(REF, target=one), copy(f"{REF}#2", target=order(id="TgtOtherxx"))
    assert is_replaced(one, [of_one, other])
    assert not is_replaced(one, [of_one])
    assert not is_replaced(one, [of_one, copy(f"{REF}#2", target=order("pending", id="TgtOtherxx"))])
    assert not is_replaced(lost("placed", "unpaid"), [of_one, other])


def test_the_sentence_names_the_order_the_amount_and_what_became_of_it():
    one = lost("cancelled", "voided", total_amount_with_taxes_cents=1200, currency_code="EUR")
    assert sentence_on(one).startswith(
        "order #1001 (12.00 EUR) was placed, and is cancelled (its payment is voided) now. The subscription goes on"
    )
