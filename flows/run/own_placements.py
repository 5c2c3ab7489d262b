"""The order copies whose orders one run has placed."""

from __future__ import annotations

from datetime import datetime

from blocks.commerce_layer.resources import OrderCopy


class OwnPlacements:
    """
    The first copy for each reference whose order this run has placed.

    Kept until the run ends, some 300 bytes each, so that its last review need not list them again.
    """

    def __init__(self) -> None:
        self._copies: dict[str, tuple[str, datetime]] = {}

    def note(self, copy: OrderCopy) -> None:
        """Note a copy whose order is placed, as an answer to this run has shown."""
        if copy.reference is not None and copy.created_at is not None:
            self._copies.setdefault(copy.reference, (copy.id, copy.created_at))

    def id_for(self, reference: str) -> str | None:
        """The id of the copy for this reference; None if this run has placed none."""
        copy = self._copies.get(reference)
        return None if copy is None else copy[0]

    def created_since(self, since: datetime) -> dict[str, datetime]:
        """When each of the copies that were created at or after `since` was (UTC), by id."""
        return {copy_id: created_at for copy_id, created_at in self._copies.values() if created_at >= since}
