"""
The request budget: two sliding windows per class of requests, shared by all processes that use the address.

No library does the counting. pyrate-limiter keeps several rates in SQLite, Redis or PostgreSQL, and limits keeps moving
windows in Redis, but both count a request at the instant at which it asks for a place. Here a place is held while the
request is under way and counts from its answer, so that latency cannot cause a 429. A place is given back if nothing
was sent, owners and kinds of requests take turns, and the headers of answers correct the counts. A library would do
none of this, and its windows would have to be kept besides the history.
"""

from blocks.commerce_layer.rate_limit.addresses import checked
from blocks.commerce_layer.rate_limit.budget import Kind, RateBudget, Slot
from blocks.commerce_layer.rate_limit.entries import Answer
from blocks.commerce_layer.rate_limit.rate_limits import RateLimits
from blocks.commerce_layer.rate_limit.sharing import open_store

__all__ = ["Answer", "Kind", "RateBudget", "RateLimits", "Slot", "checked", "open_store"]
