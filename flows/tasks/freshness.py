"""How long a look at a subscription may be acted upon: customers cancel and postpone while requests wait."""

from __future__ import annotations

from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import Fenced

LOOK_LASTS = 10.0
"""Seconds after which a look is too old to create, place or record upon."""


class LookTooOld(Fenced):
    """The request waited so long that the subscription must be read again; nothing was sent."""


class Freshness:
    """When a subscription was looked at: not before this was made, or renewed."""

    def __init__(self) -> None:
        self._looked_at = current_clock().monotonic()

    @property
    def age(self) -> float:
        """Seconds since then."""
        return current_clock().monotonic() - self._looked_at

    @property
    def is_over(self) -> bool:
        """Whether the look must not be acted upon any more."""
        return self.age > LOOK_LASTS

    def check(self) -> None:
        """
        Say no when the look is too old.

        Raises:
            LookTooOld: it is.
        """
        if self.is_over:
            raise LookTooOld(f"the subscription was read {self.age:.0f} s ago")
