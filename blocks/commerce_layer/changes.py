"""What the client writes: an order copy to create, and a change of a subscription."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class OrderCopyDraft(BaseModel):
    """
    An order copy to create. Its options cannot be changed afterwards.

    `place_target_order` is not one of them: a separate request, which may be repeated, places the target order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source_order_id: str
    """The order to copy."""
    reference: str
    """Finds the copy again, together with every other copy of the same period."""
    reference_origin: str = "perennial"
    """The system that `reference` belongs to."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Which subscription is renewed, and which run made the copy."""
    reuse_wallet: bool = True
    """Copy the payment source from the customer's wallet."""
    apply_promotions: bool = False
    """Compute promotions anew instead of copying the discounts."""
    ignore_invalid_coupon: bool = False
    """Drop an invalid coupon code instead of failing."""
    skip_errors: bool = False
    """Complete the copy in spite of errors, such as a line out of stock."""


@dataclass(frozen=True, slots=True)
class SubscriptionChange:
    """
    What one request changes on a subscription: all of its metadata, its next date, status, card. None leaves it.

    `add_tag` is the name of a tag that it gets; one that does not exist is passed over.
    """

    metadata: Mapping[str, Any] | None = None
    next_run_at: datetime | None = None
    cancel: bool = False
    payment_source_id: str | None = None
    add_tag: str | None = None
