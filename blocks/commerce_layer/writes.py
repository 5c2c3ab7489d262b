"""What the client is asked to write: an order copy to be created, and the change of a subscription."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class OrderCopyDraft(BaseModel):
    """
    An order copy to be created. The options cannot be changed afterwards.

    `place_target_order` is not among them: the target order is placed by a request of its own, which may be repeated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source_order_id: str
    """The order to copy."""
    reference: str
    """What the copy is found by again, together with every other copy of the same period."""
    reference_origin: str = "perennial"
    """The system that `reference` belongs to."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Whose renewal this is, and which run made it."""
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
    What one request changes on a subscription: all of its metadata, its next date, its status. None leaves it.

    `add_tag` is the name of a tag that it gets; one that does not exist is passed over.
    """

    metadata: Mapping[str, Any] | None = None
    next_run_at: datetime | None = None
    cancel: bool = False
    add_tag: str | None = None
