"""How long a look may be acted upon: customers cancel and postpone while requests wait for the rate limit."""

from __future__ import annotations

from blocks.commerce_layer.clock import current_clock

LOOK_LASTS = 10.0
"""Seconds after which a look is too old to place or record upon."""


class Freshness:
    """When a look was taken: not before this was made."""

    def __init__(self) -> None:
        self._looked_at = current_clock().monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the look must not be acted upon any more."""
        return current_clock().monotonic() - self._looked_at > LOOK_LASTS
