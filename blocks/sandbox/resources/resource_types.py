"""
All resource types of the sandbox, and with them its database schema.

Every type is a table of the same name. Columns: `id`, one column per attribute (times as ISO 8601 text with
milliseconds and Z, booleans as 0/1, `metadata` and other objects as JSON text), one per to-one relationship
(`source_order_id`, `target_order_id`, `order_subscription_id`, ...), and private ones whose name begins with
an underscore. `order_factories` is a view of `order_copies` and `recurring_order_copies`. A type that is always empty
has no table. `shop/views.py` has the types that are views, and says why.

Source of attributes, flags and triggers: the API reference pages of the resources and the public resource
metadata (schema 7.9 to 7.10).
"""

from __future__ import annotations

from blocks.sandbox.resources import (
    catalogue_resources,
    detail_resources,
    empty_catalogue,
    empty_delivery,
    empty_payments,
    empty_promotions,
    order_resources,
    payment_resources,
    related_resources,
    renewal_resources,
)
from blocks.sandbox.resources.definitions import ResourceType

_MODULES = (
    renewal_resources,
    order_resources,
    detail_resources,
    catalogue_resources,
    payment_resources,
    related_resources,
)

WITH_DATA: tuple[ResourceType, ...] = tuple(
    known for module in _MODULES for known in vars(module).values() if isinstance(known, ResourceType)
)
"""The types that are not always empty."""

ALWAYS_EMPTY: tuple[ResourceType, ...] = tuple(
    known for module in (empty_catalogue, empty_delivery, empty_payments, empty_promotions) for known in module.TYPES
)

RESOURCE_TYPES: dict[str, ResourceType] = {known.name: known for known in (*WITH_DATA, *ALWAYS_EMPTY)}

BY_PATH: dict[str, ResourceType] = {known.path: known for known in RESOURCE_TYPES.values()}
