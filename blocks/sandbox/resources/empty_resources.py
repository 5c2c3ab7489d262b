"""
Resource types that are always empty here.

They exist because other types are related to them: includes and related paths answer as in a shop that does not use
them.
"""

from __future__ import annotations

from blocks.sandbox.resources.definitions import ResourceType, resource_type


def _empty(name: str) -> ResourceType:
    return resource_type(name, "", private=("owner_id TEXT",), actions="lr")


ATTACHMENTS = _empty("attachments")
CUSTOMER_ADDRESSES = _empty("customer_addresses")
CUSTOMER_GROUPS = _empty("customer_groups")
CUSTOMER_SUBSCRIPTIONS = _empty("customer_subscriptions")
ORDER_SUBSCRIPTION_ITEMS = _empty("order_subscription_items")
RETURNS = _empty("returns")
SKU_LISTS = _empty("sku_lists")
STOCK_LOCATIONS = _empty("stock_locations")
