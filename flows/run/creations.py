"""The order copies that one run has created itself."""

from __future__ import annotations

from datetime import datetime

from blocks.commerce_layer.resources import OrderCopy


class Creations:
    """
    The first copy that this run has created for each reference.

    Kept until the run ends, some 300 bytes each, so that its last review need not list them again.
    """

    def __init__(self) -> None:
        self._copies: dict[str, tuple[str, datetime | None]] = {}

    def note(self, copy: OrderCopy) -> None:
        """Note a copy whose creation was answered."""
        if copy.reference is not None:
            self._copies.setdefault(copy.reference, (copy.id, copy.created_at))

    def id_for(self, reference: str) -> str | None:
        """The id of the copy for this reference; None if this run has created none, or does not know it."""
        return self._copies.get(reference, (None, None))[0]

    @property
    def dates(self) -> dict[str, datetime | None]:
        """When each was created (UTC), by id."""
        return dict(self._copies.values())
