"""What `perennial setup --check` says of one thing that it has read back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Checked:
    """One line of the report: what was looked at, what was found, and the way out if it is not as it should be."""

    what: str
    found: str
    way_out: str | None = None

    @property
    def is_right(self) -> bool:
        """Whether it is as it should be."""
        return self.way_out is None
