"""
What the stop switch says: whether customers may be charged, since when not, and why.

The switch is a Prefect variable, so that it can be edited in the UI and survives deploys and restarts. It may have any
value; a value that is not understood counts as "stop".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

VARIABLE = "perennial_charging"
"""Name of the Prefect variable; charging is on if it does not exist."""

GO, STOP = "go", "stop"

WAY_OUT = f'`perennial go`, or the value "{GO}" in the Prefect variable {VARIABLE}, starts it again'

_QUOTED = 60
"""How many characters are shown of a value that is not understood."""


@dataclass(frozen=True, slots=True)
class StopSwitch:
    """
    What the variable says.

    `since` is when charging was stopped (UTC, None when that is not known), `reason` is why, in a person's words.
    `is_understood` is False for a value that is neither "go" nor "stop".
    """

    is_stopped: bool
    reason: str = ""
    since: datetime | None = None
    is_understood: bool = True

    @property
    def sentence(self) -> str:
        """`charging is stopped since 2026-03-01 06:00 UTC: wrong prices`, or that it is on."""
        if not self.is_stopped:
            return "charging is on"
        since = f" since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        return f"charging is stopped{since}: {self.reason or 'no reason was given'}"


CHARGING_IS_ON = StopSwitch(is_stopped=False)


def read_switch(value: Any, updated: datetime | None = None) -> StopSwitch:
    """
    What the value of the variable means.

    Args:
        value: "go", "stop", "stop: why", or what `stopped` makes; anything else counts as "stop".
        updated: when the variable was written last.
    """
    if isinstance(value, Mapping):
        return _from_record(value, updated)
    word, _, reason = str(value).partition(":")
    match isinstance(value, str) and word.strip().lower():
        case "go":
            return CHARGING_IS_ON
        case "stop":
            return StopSwitch(is_stopped=True, reason=reason.strip(), since=updated)
    return _not_understood(value, updated)


def _from_record(value: Mapping[str, Any], updated: datetime | None) -> StopSwitch:
    match value.get("charging"):
        case "go":
            return CHARGING_IS_ON
        case "stop":
            return StopSwitch(
                is_stopped=True, reason=str(value.get("reason") or ""), since=_instant(value.get("since")) or updated
            )
    return _not_understood(value, updated)


def _not_understood(value: Any, updated: datetime | None) -> StopSwitch:
    said = repr(value if isinstance(value, str) else dict(value) if isinstance(value, Mapping) else value)
    said = said if len(said) <= _QUOTED else f"{said[: _QUOTED - 1]}…"
    reason = f'the value {said} of the Prefect variable {VARIABLE} is neither "{GO}" nor "{STOP}", which counts as stop'
    return StopSwitch(is_stopped=True, reason=reason, since=updated, is_understood=False)


def _instant(text: Any) -> datetime | None:
    try:
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def stopped(reason: str, at: datetime, before: StopSwitch) -> dict[str, str]:
    """The value that stops charging. Stopping again keeps the first time."""
    since = before.since if before.is_stopped and before.since else at
    return {"charging": STOP, "reason": reason.strip(), "since": since.astimezone(UTC).isoformat(timespec="seconds")}
