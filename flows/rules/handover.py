"""What a person asks for when subscriptions are handed over, and the decision about each of them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal


class Handover(StrEnum):
    """What a person wants done with subscriptions."""

    ADOPT = "adopt"  # Perennial renews them from now on
    RELEASE = "release"  # those held for a person go on
    GIVE_BACK = "give_back"  # Commerce Layer's own engine renews them again
    PAUSE = "pause"  # nothing is renewed until they are resumed
    RESUME = "resume"


class Handling(StrEnum):
    """Whether one subscription is to be changed."""

    CHANGE = "change"
    AS_REQUESTED = "as_requested"  # nothing to do
    REFUSED = "refused"  # a person must do something else first


@dataclass(frozen=True, slots=True)
class Change:
    """One PATCH: the complete new metadata, and the other changes."""

    metadata: dict[str, Any]
    trigger: Literal["activate", "deactivate"] | None = None
    next_run_at: datetime | None = None
    tagged: bool | None = None
    """Whether to add or remove the tag of adopted subscriptions; None leaves it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about one subscription, and why. `change` is set only if the subscription is to be changed."""

    subscription_id: str
    handling: Handling
    sentence: str
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class HandoverRequest:
    """
    What a person asks for.

    `named`: they named each subscription; else all that fit are taken, except risky ones.
    """

    handover: Handover
    named: bool = True
    requested: frozenset[str] = frozenset()
    """The ids of all subscriptions that the request concerns."""
