"""The statuses of Commerce Layer's resources. A value that we have never seen becomes `unknown`."""

from enum import StrEnum
from typing import Self


class _OpenEnum(StrEnum):
    """An enum of Commerce Layer's: a value that we do not know becomes `unknown`."""

    @classmethod
    def _missing_(cls, value: object) -> Self:  # noqa: ARG003 - `raw_status` keeps the raw text
        return cls("unknown")


class OrderCopyStatus(_OpenEnum):
    """The status of an order copy. Only `completed`, `failed` and `aborted` are final."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"  # in the API's enum, but without a timestamp, event or documented cause
    UNKNOWN = "unknown"


class SubscriptionStatus(_OpenEnum):
    """The status of an order subscription."""

    DRAFT = "draft"
    INACTIVE = "inactive"
    ACTIVE = "active"
    RUNNING = "running"
    PENDING = "pending"  # new in July 2026: no usable wallet for renewals
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class OrderStatus(_OpenEnum):
    """The status of an order."""

    DRAFT = "draft"
    PENDING = "pending"
    EDITING = "editing"
    PLACING = "placing"
    PLACED = "placed"
    APPROVED = "approved"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class PaymentStatus(_OpenEnum):
    """How far an order is paid."""

    UNPAID = "unpaid"
    AUTHORIZED = "authorized"
    PARTIALLY_AUTHORIZED = "partially_authorized"
    PAID = "paid"
    PARTIALLY_PAID = "partially_paid"
    VOIDED = "voided"
    PARTIALLY_VOIDED = "partially_voided"
    REFUNDED = "refunded"
    PARTIALLY_REFUNDED = "partially_refunded"
    FREE = "free"
    UNKNOWN = "unknown"


FINAL_COPY_STATUSES = frozenset({OrderCopyStatus.COMPLETED, OrderCopyStatus.FAILED, OrderCopyStatus.ABORTED})
PLACED_ORDER_STATUSES = frozenset({OrderStatus.PLACED, OrderStatus.APPROVED})
NOT_PAID = (
    *(PaymentStatus.UNPAID, PaymentStatus.VOIDED, PaymentStatus.PARTIALLY_VOIDED),
    *(PaymentStatus.REFUNDED, PaymentStatus.PARTIALLY_REFUNDED),
)
"""Payment statuses of a placed order whose customer did not pay, or not all of it, in the end."""
