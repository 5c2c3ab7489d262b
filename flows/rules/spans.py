"""The span of time that a report is about, from what a person gives as its first and its last day or instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from flows.rules.zones import instant_of, with_year


class EmptySpan(ValueError):  # noqa: N818 - the name says what is wrong
    """Nothing lies between the two ends that were given. The message names both and the way out."""


@dataclass(frozen=True)
class Span:
    """From `start` up to, but not including, `end`; both in UTC."""

    start: datetime
    end: datetime

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def in_words(self, zone: ZoneInfo) -> str:
        """Both ends for people, in their zone."""
        return f"{with_year(self.start, zone)} to {with_year(self.end, zone)}"


def span_of(first: date, last: date, zone: ZoneInfo) -> Span:
    """
    What a person means by `--from first --to last`.

    A day means the whole day where the merchant is, the last one included. An instant (`datetime` in UTC) is itself.

    Raises:
        EmptySpan: the span ends before it begins, or where it begins.
    """
    start = first if isinstance(first, datetime) else _midnight(first, zone)
    end = last if isinstance(last, datetime) else _midnight(last + timedelta(days=1), zone)
    days_are_exchanged = type(first) is type(last) and last < first  # two days next to each other: end is start
    if end < start or days_are_exchanged:
        raise EmptySpan(f"The span ends ({_shown(last)}) before it begins ({_shown(first)}). Exchange --from and --to.")
    if end == start:
        raise EmptySpan(f"The span is empty: it ends where it begins ({_shown(first)}). Give a later --to.")
    return Span(start, end)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return instant_of(datetime.combine(day, time.min), zone)


def _shown(end: date) -> str:
    return f"{end:%Y-%m-%dT%H:%MZ}" if isinstance(end, datetime) else f"{end:%Y-%m-%d}"
