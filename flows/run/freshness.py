"""How long a read stays valid: customers cancel and postpone while requests wait for the rate limit."""

from __future__ import annotations

from blocks.commerce_layer.clock import current_clock

LOOK_LASTS = 10.0
"""Seconds after which a read is too old to place an order or write a record."""


class Freshness:
    """The age of a read. Create it before the read begins."""

    def __init__(self) -> None:
        self._looked_at = current_clock().monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the read is too old to use."""
        return current_clock().monotonic() - self._looked_at > LOOK_LASTS
