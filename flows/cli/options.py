"""The values that the options of the commands may have, and the errors for all other values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from cyclopts import Parameter, Token

from blocks.policy import duration_of


def _number(what: str, lowest: int, highest: int) -> Callable[[object, Sequence[Token]], int]:
    def read(_: object, given: Sequence[Token]) -> int:
        text = given[0].value
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise ValueError(f"{text!r} is not {what} from {lowest} to {highest}")
        return int(text)

    return read


def _day_or_instant(_: object, given: Sequence[Token]) -> date:
    text = given[0].value
    try:
        return date.fromisoformat(text)
    except ValueError:
        return _instant(text)


def _duration(_: object, given: Sequence[Token]) -> timedelta:
    return duration_of(given[0].value)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a date such as 2026-03-01 or 2026-03-01T06:00") from None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


Count = Annotated[int, Parameter(converter=_number("a number", 1, 100_000))]
Port = Annotated[int, Parameter(converter=_number("a port: a number", 1, 65_535))]
DayOrInstant = Annotated[date | datetime, Parameter(converter=_day_or_instant, metavar="DATE")]
"""A day as `date`, an instant as `datetime` in UTC."""
From = Annotated[DayOrInstant, Parameter(name="--from")]
To = Annotated[DayOrInstant, Parameter(name="--to")]
"""The ends of a span; see `flows/rules/spans.py`."""
Duration = Annotated[timedelta, Parameter(converter=_duration, metavar="DURATION")]
"""A whole number of minutes, hours, days or weeks: 30m, 6h, 3d, 2w."""
