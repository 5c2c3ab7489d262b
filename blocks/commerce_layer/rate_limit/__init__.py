"""
The request budget: two sliding windows per class of requests, shared by all that use the address.

No library does the counting. pyrate-limiter keeps several rates in SQLite, Redis or PostgreSQL, and limits keeps moving
windows in Redis; but for both a place is an instant at which one asked. Here it is held while a request is under way
and counts from its answer, so that a 429 cannot come of latency; it is given back when nothing was sent; owners and
kinds take turns for it; and the answers' headers correct what is counted. That is all there is to a history, and the
windows of a library would have to be kept beside it.
"""

from blocks.commerce_layer.rate_limit.budget import Kind, RateBudget, Slot
from blocks.commerce_layer.rate_limit.figures import RateLimits
from blocks.commerce_layer.rate_limit.sharing import SCHEMES, open_store

__all__ = ["Kind", "RateBudget", "RateLimits", "Slot", "SCHEMES", "open_store"]
