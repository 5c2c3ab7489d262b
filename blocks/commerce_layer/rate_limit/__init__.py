"""The request budget: two sliding windows per class of requests, shared by all that use the address."""

from blocks.commerce_layer.rate_limit.budget import Kind, RateBudget, Slot
from blocks.commerce_layer.rate_limit.figures import RateLimits
from blocks.commerce_layer.rate_limit.sharing import SCHEMES, open_store

__all__ = ["Kind", "RateBudget", "RateLimits", "Slot", "SCHEMES", "open_store"]
