"""What a person asks for when subscriptions are handed over, and what is to be done about each of them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal


class Handover(StrEnum):
    """What shall happen to subscriptions."""

    ADOPT = "adopt"  # Perennial renews them from now on
    RELEASE = "release"  # those held for a person go on
    GIVE_BACK = "give_back"  # Commerce Layer's own engine renews them again
    PAUSE = "pause"  # nothing is renewed until they are resumed
    RESUME = "resume"


class Handling(StrEnum):
    """Whether something is to be done about one subscription."""

    CHANGE = "change"
    AS_REQUESTED = "as_requested"  # nothing to do
    REFUSED = "refused"  # a person must do something else first


@dataclass(frozen=True, slots=True)
class Change:
    """One PATCH: all of the new metadata, and what goes with it."""

    metadata: dict[str, Any]
    trigger: Literal["activate", "deactivate"] | None = None
    next_run_at: datetime | None = None
    tagged: bool | None = None
    """Whether it has the tag of adopted subscriptions from then on; None leaves it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done about one subscription, and why, in words. `change` is there exactly when something is."""

    subscription_id: str
    handling: Handling
    sentence: str
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class HandoverRequest:
    """
    What a person asks for.

    `named`: they named the subscriptions one by one; else whatever fits is taken, and what is risky is left out.
    """

    handover: Handover
    named: bool = True
    requested: frozenset[str] = frozenset()
    """The ids of all subscriptions that the request concerns."""
