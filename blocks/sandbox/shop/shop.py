"""The state that all parts of the sandbox share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from blocks.sandbox.settings import Settings
from blocks.sandbox.shop.database import Database, Row
from blocks.sandbox.shop.scheduler import Scheduler
from blocks.sandbox.shop.virtual_clock import Clock, text_of


@dataclass(slots=True)
class Shop:
    """One organization: its settings, its data, its clock and its scheduled actions."""

    settings: Settings
    database: Database
    clock: Clock
    scheduler: Scheduler
    publish: Callable[[str, str, str], None] = field(default=lambda *_: None)
    """Called with topic, resource type and resource id of every event."""
    publish_again: Callable[[Row], None] = field(default=lambda _: None)
    """Called with an event that is to be delivered again."""
    arrived_at: str | None = None
    """When a late request arrived; set while it is carried out, so that it writes this time."""
    order_placed: Callable[[str], None] = field(default=lambda _: None)
    """Called with the id of every order that is placed."""

    def now(self) -> datetime:
        """The present instant, UTC."""
        return self.scheduler.now()

    def now_text(self) -> str:
        """The present as the API writes it."""
        return self.arrived_at or text_of(self.scheduler.now())

    @contextmanager
    def as_of(self, arrived_at: str) -> Iterator[None]:
        """Let `now_text` be an earlier instant in this context."""
        self.arrived_at = arrived_at
        try:
            yield
        finally:
            self.arrived_at = None

    def after(self, seconds: float, action: Callable[[], None]) -> datetime:
        """Run `action` after this many seconds of the sandbox's clock."""
        instant = self.now() + timedelta(seconds=seconds)
        self.scheduler.at(instant, action)
        return instant

    def random_for(self, name: str) -> Random:
        """Random numbers for one name: the same in every run with the same seed."""
        return Random(f"{self.settings.seed}:{name}")  # noqa: S311  reproducible, not secret

    @property
    def organization_id(self) -> str:
        """The organization's id, the same for the same slug."""
        return organization_id(self.settings.organization)


def organization_id(slug: str) -> str:
    """Ten letters derived from the slug."""
    random = Random(slug)  # noqa: S311  a name, not a secret
    return "".join(random.choices("abdeghjkmnpqrsvwxyzABDEGHJKLMNPQRSVWXYZ", k=10))
