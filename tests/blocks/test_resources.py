"""Resources are read as the API sends them, even with unknown or unusual values."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from blocks.commerce_layer import resources
from blocks.commerce_layer.changes import OrderCopyDraft
from blocks.commerce_layer.resources import CustomerPaymentSource, Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.statuses import OrderCopyStatus, OrderStatus, PaymentStatus, SubscriptionStatus


@pytest.mark.parametrize("status", ["pending", "in_progress", "unknown", "paused_by_moon", "", None])
def test_a_copy_is_not_final_while_its_status_is_open_or_unknown(status):
    assert not OrderCopy(id="a", status=status).is_final


@pytest.mark.parametrize("status", ["completed", "failed", "aborted"])
def test_a_copy_that_ended_is_final(status):
    assert OrderCopy(id="a", status=status).is_final


@pytest.mark.parametrize(
    ("model", "attributes", "unknown"),
    [
        (OrderCopy, {}, OrderCopyStatus.UNKNOWN),
        (Order, {}, OrderStatus.UNKNOWN),
        (OrderSubscription, {"frequency": "monthly"}, SubscriptionStatus.UNKNOWN),
    ],
)
def test_an_unknown_status_keeps_its_text(model, attributes, unknown):
    read = model.model_validate({"id": "a", "status": "teleported", **attributes})

    assert (read.status, read.raw_status) == (unknown, "teleported")


def test_an_order_with_an_unknown_payment_status_can_be_read():
    assert Order.model_validate({"id": "a", "payment_status": "bartered"}).payment_status == PaymentStatus.UNKNOWN


def test_a_draft_cannot_set_place_target_order():
    with pytest.raises(ValidationError):
        OrderCopyDraft(source_order_id="a", reference="b", place_target_order=True)


@pytest.mark.parametrize("placed_at", ["2026-03-01T06:00:00Z", None])
def test_an_order_in_editing_is_placed_if_it_was_placed_before(placed_at):
    order = Order.model_validate({"id": "a", "status": "editing", "placed_at": placed_at})
    assert order.is_placed is (placed_at is not None)


@pytest.mark.parametrize(
    ("status", "placed"), [("placed", True), ("approved", True), ("placing", False), ("pending", False)]
)
def test_an_order_is_placed_when_it_is_placed_or_approved(status, placed):
    assert placed is Order.model_validate({"id": "a", "status": status}).is_placed


def test_null_metadata_reads_as_empty():
    assert OrderCopy.model_validate({"id": "a", "status": "pending", "metadata": None}).metadata == {}


@pytest.mark.parametrize("number", [18000207, "18000207"])
def test_an_order_number_is_text_however_it_was_sent(number):
    assert Order.model_validate({"id": "a", "number": number}).number == "18000207"


def test_times_are_in_utc():
    copy = OrderCopy.model_validate({"id": "a", "status": "completed", "completed_at": "2026-03-01T06:00:00.125Z"})

    assert datetime(2026, 3, 1, 6, 0, 0, 125000, tzinfo=UTC) == copy.completed_at


@pytest.mark.parametrize("log", [["declined"], "declined"])
def test_an_errors_log_of_another_shape_is_kept(log):
    assert {"base": log} == OrderCopy.model_validate({"id": "a", "status": "failed", "errors_log": log}).errors_log


def test_counters_that_are_null_are_read_as_zero():
    read = OrderSubscription.model_validate(
        {"id": "a", "status": "inactive", "frequency": "monthly", "occurrencies": None, "errors_count": None}
    )

    assert (read.occurrencies, read.errors_count) == (0, 0)


def test_a_misspelt_option_of_a_draft_is_refused():
    with pytest.raises(ValidationError):
        OrderCopyDraft(source_order_id="a", reference="b", reuse_walet=True)


def test_every_documented_attribute_and_relationship_of_a_copy_can_be_read():
    documented = {
        *("type", "status", "started_at", "completed_at", "failed_at", "errors_log", "errors_count"),
        *("place_target_order", "cancel_source_order", "reuse_wallet", "apply_promotions", "skip_errors"),
        *(
            "ignore_invalid_coupon",
            "reference",
            "reference_origin",
            "metadata",
            "created_at",
            "updated_at",
            "id",
            "mode",
        ),
        *("url", "source_order_id", "target_order_id", "target_order", "order_subscription_id", "event_ids"),
        "event_store_ids",
    }

    assert documented <= set(OrderCopy.model_fields)


@pytest.mark.parametrize(
    ("instrument", "end"),
    [
        ({"card_expiry_month": 2, "card_expiry_year": 2026}, datetime(2026, 3, 1, tzinfo=UTC)),
        ({"card_expiry_month": "12", "card_expiry_year": "26"}, datetime(2027, 1, 1, tzinfo=UTC)),
        ({"card_expiry_month": 13, "card_expiry_year": 2026}, None),
        ({"card_expiry_month": "02", "card_expiry_year": None}, None),
        ({"issuer_type": "paypal"}, None),
        (["?"], None),
        (None, None),
    ],
)
def test_a_card_ends_with_the_last_month_that_its_payment_source_shows(instrument, end):
    sent = {"id": "a", "payment_source": {"id": "b", "payment_instrument": instrument}}

    assert CustomerPaymentSource.model_validate(sent).valid_until == end


def test_a_card_whose_payment_source_was_not_included_has_no_known_end():
    assert CustomerPaymentSource.model_validate({"id": "a", "payment_source_id": "b"}).valid_until is None


def test_every_public_field_is_described():
    models = [kind for kind in vars(resources).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
    described = {
        f"{kind.__name__}.{name}": field.description for kind in models for name, field in kind.model_fields.items()
    }

    assert [name for name, text in described.items() if not text] == []


def test_only_the_credentials_module_imports_prefect():
    source = Path(resources.__file__).parent
    importers = {
        path.name
        for path in source.rglob("*.py")
        if "prefect" in re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.MULTILINE)
    }

    assert {"credentials.py"} == importers
