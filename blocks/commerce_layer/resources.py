"""The resources of Commerce Layer that we read, as frozen models.

Source of every field: Commerce Layer API reference ("The order copy object", "The order
subscription object", "The order object"). Times are UTC with millisecond precision.
Relationships appear as `..._id`, which is None when the answer carried no linkage (the
API sends linkage only for relationships named in `include`).
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from blocks.commerce_layer.statuses import (
    FINAL_COPY_STATUSES,
    PLACED_ORDER_STATUSES,
    OrderCopyStatus,
    OrderStatus,
    PaymentStatus,
    SubscriptionStatus,
)


def _object_or_empty(value: object) -> object:
    # PHP writes an empty object as an empty list.
    return {} if value is None or value == [] else value


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _zero_for_null(value: object) -> object:
    return 0 if value is None else value


def _false_for_null(value: object) -> object:
    return False if value is None else value


def _log_as_object(value: object) -> object:
    # Documented as {attribute: [messages]}. Anything else is kept under `base`, as Rails names errors of the
    # whole record, so that a log of an unknown form never hides how a copy ended.
    return value if value is None or isinstance(value, dict) else {"base": value}


def _details_or_none(value: object) -> object:
    return value if isinstance(value, dict) else None


def _text_or_none(value: object) -> object:
    return value if isinstance(value, str) else None


def _end_of_card(value: object) -> object:
    """The end of the last month on the card; None where no such month is shown: every gateway has keys of its own."""
    shown = value if isinstance(value, dict) else {}
    month, year = (str(shown.get(f"card_expiry_{part}") or "") for part in ("month", "year"))
    if not (month.isdecimal() and year.isdecimal() and 1 <= int(month) <= _MONTHS and len(year) in {2, 4}):
        return value if isinstance(value, datetime) else None
    following = int(year) % 100 * _MONTHS + int(month)
    return datetime(2000 + following // _MONTHS, following % _MONTHS + 1, 1, tzinfo=UTC)


def _names(value: object) -> object:
    """The names of linked resources; one that has none, or was not included, is passed over."""
    listed = value if isinstance(value, (list, tuple)) else ()
    return tuple(each["name"] for each in listed if isinstance(each, dict) and isinstance(each.get("name"), str))


_MONTHS = 12
Metadata = Annotated[dict[str, Any], BeforeValidator(_object_or_empty)]
NumberText = Annotated[str | None, BeforeValidator(_number_as_text)]
Count = Annotated[int, BeforeValidator(_zero_for_null)]
Flag = Annotated[bool, BeforeValidator(_false_for_null)]
PaymentDetails = Annotated[dict[str, Any] | None, BeforeValidator(_details_or_none)]
EndOfCard = Annotated[datetime | None, BeforeValidator(_end_of_card)]
Token = Annotated[str | None, BeforeValidator(_text_or_none)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
ErrorsLog = Annotated[dict[str, Any] | None, BeforeValidator(_log_as_object)]


class _Resource(BaseModel):
    """What all resources have in common."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    id: str
    """Unique identifier: ten letters, case-sensitive, e.g. `yzkWXfgHQS`."""
    reference: str | None = None
    """Identifier in an external system. Not unique: Commerce Layer accepts any number of equal ones."""
    reference_origin: str | None = None
    """The external system that `reference` belongs to."""
    metadata: Metadata = Field(default_factory=dict)
    """Free key-value pairs; an update replaces them all. Null becomes empty."""
    created_at: datetime | None = None
    """When the resource was created, UTC."""
    updated_at: datetime | None = None
    """When the resource was last updated, UTC."""
    mode: Literal["test", "live"] | None = None
    """The environment the resource lives in; None when the answer did not say."""


class _WithStatus(_Resource):
    """A resource with a status. Commerce Layer may add values at any time."""

    raw_status: str = ""
    """The status exactly as sent, even if we do not know it."""

    @model_validator(mode="before")
    @classmethod
    def _keep_the_raw_status(cls, data: object) -> object:
        if isinstance(data, dict) and "raw_status" not in data:
            status = data.get("status")
            return {**data, "raw_status": "" if status is None else str(status)}
        return data


class CustomerPaymentSource(BaseModel):
    """A card, or its like, in a customer's wallet: only what tells it from others."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, populate_by_name=True)

    id: str
    """Unique identifier in the wallet."""
    payment_source_token: Token = None
    """What the payment gateway calls it; null when the answer did not say."""
    payment_source_id: Token = None
    """The payment source behind it, such as a `stripe_payments`."""
    valid_until: EndOfCard = Field(default=None, validation_alias=AliasPath("payment_source", "payment_instrument"))
    """When the card ends, UTC; null when its payment source does not say (`card_expiry_month`, `card_expiry_year`)."""


class Order(_WithStatus):
    """An order: the source that is copied, or the target that a copy made."""

    number: NumberText = None
    """The number people see; sent as text or as a number."""
    status: OrderStatus = OrderStatus.UNKNOWN
    """A value we have never seen becomes `unknown`."""
    payment_status: PaymentStatus = PaymentStatus.UNKNOWN
    """How far the order is paid."""
    fulfillment_status: str | None = None
    """`unfulfilled`, `in_progress`, `fulfilled` or `not_required`."""
    placed_at: datetime | None = None
    """When the order was placed, UTC."""
    approved_at: datetime | None = None
    """When the order was approved, UTC."""
    cancelled_at: datetime | None = None
    """When the order was cancelled, UTC."""
    total_amount_with_taxes_cents: int | None = None
    """Grand total including taxes, in cents of `currency_code`."""
    currency_code: str | None = None
    """ISO 4217, e.g. `EUR`."""
    skus_count: int | None = None
    """How many items its lines have together."""
    customer_email: str | None = None
    """The customer's address."""
    errors_count: int | None = None
    """Entries in the order's resource errors; null when it was never placed."""
    payment_source_id: Token = None
    """The payment source that it is paid with, such as a `stripe_payments`; null when there is none."""
    payment_source_details: PaymentDetails = None
    """What is said about it in public. Its `payment_method_id` is the token of the wallet's card."""

    @property
    def shown_number(self) -> str:
        """`#` and the number that people see; the id as long as it has no number."""
        return f"#{self.number}" if self.number else self.id

    @property
    def is_placed(self) -> bool:
        """
        Whether the order is placed, and so the renewal is done.

        An order that is approved, or that staff are editing, was placed before.
        """
        edited = self.status is OrderStatus.EDITING and self.placed_at is not None
        return edited or self.status in PLACED_ORDER_STATUSES


class OrderCopy(_WithStatus):
    """
    An asynchronous job that clones a source order into a target order.

    Source: Commerce Layer API reference, "The order copy object". `mode` is that page's `meta.mode`.
    """

    type: str = "order_copies"
    """`order_copies`; `recurring_order_copies` for the native engine's own jobs."""
    url: str | None = None
    """The order copy endpoint URL (`links.self`)."""
    status: OrderCopyStatus
    """A value we have never seen becomes `unknown`; it is never treated as final."""
    started_at: datetime | None = None
    """When the copy was started, UTC."""
    completed_at: datetime | None = None
    """When the copy was completed, UTC."""
    failed_at: datetime | None = None
    """When the copy failed, UTC. An aborted copy has no time of its own."""
    errors_log: ErrorsLog = None
    """What went wrong, as {attribute: [messages]}; null or empty when nothing did."""
    errors_count: int | None = None
    """Entries in `errors_log`; null until the copy has run."""
    place_target_order: Flag = False
    """Whether the target order is placed at the end of the copy."""
    cancel_source_order: Flag = False
    """Whether the source order is cancelled at the end of the copy."""
    reuse_wallet: Flag = False
    """Whether the payment source in the customer's wallet is copied. The API's own default is true."""
    apply_promotions: Flag = False
    """Whether promotions are computed anew. If not, discounts are copied as they were."""
    skip_errors: Flag = False
    """Whether errors during the copy are ignored."""
    ignore_invalid_coupon: Flag = False
    """Whether an invalid coupon code is dropped instead of failing the copy."""
    source_order_id: str | None = None
    """The order that is copied."""
    source_order: Order | None = None
    """The order that is copied, when it was included in the answer."""
    target_order_id: str | None = None
    """The order that the copy made; null while, or when, there is none."""
    target_order: Order | None = None
    """The order that the copy made, when it was included in the answer."""
    order_subscription_id: str | None = None
    """The subscription whose native run made this copy; never set for copies created through the API."""
    event_ids: tuple[str, ...] = ()
    """The events that occurred, when they were included in the answer."""
    event_store_ids: tuple[str, ...] = ()
    """The stored events, when the answer carried their linkage."""

    @property
    def is_final(self) -> bool:
        """Whether the copy has ended. A copy is never restarted."""
        return self.status in FINAL_COPY_STATUSES


class OrderSubscription(_WithStatus):
    """The contract to renew an order at a frequency."""

    number: NumberText = None
    """The number people see."""
    status: SubscriptionStatus
    """A value we have never seen becomes `unknown`."""
    frequency: str
    """`hourly` to `yearly`, `two-month` and its like, or a crontab expression."""
    starts_at: datetime | None = None
    """When the subscription starts, UTC: the anchor of its periods."""
    expires_at: datetime | None = None
    """When the subscription ends, UTC; null for never."""
    next_run_at: datetime | None = None
    """When the subscription is due, UTC."""
    last_run_at: datetime | None = None
    """When the native engine ran it last, UTC."""
    occurrencies: Count = 0
    """How often the native engine has run it."""
    errors_count: Count = 0
    """How many native runs failed."""
    succeeded_on_last_run: bool | None = None
    """Whether the last native run succeeded. It can be true although there was none."""
    customer_email: str | None = None
    """The customer's address."""
    source_order_id: str | None = None
    """The order that every renewal copies."""
    customer_payment_source_id: str | None = None
    """The payment source in the customer's wallet that renewals are charged to."""
    customer_payment_source: CustomerPaymentSource | None = None
    """The same, when it was included in the answer."""
    tags: Names = ()
    """The names of its tags."""
