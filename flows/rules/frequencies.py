"""
Frequencies as Commerce Layer writes them: words such as `two-month`, or a crontab expression.

Source: Commerce Layer API reference, "The order subscription object" (`frequency`). Plurals
(`two-months`) are tolerated, since Commerce Layer's own dashboard tolerates them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from croniter import croniter

Unit = Literal["hour", "day", "month"]


@dataclass(frozen=True, slots=True)
class Every:
    """Every `count` hours, days or months."""

    count: int
    unit: Unit


@dataclass(frozen=True, slots=True)
class Crontab:
    """A crontab expression of five fields, its fields separated by single spaces."""

    expression: str

    def fits(self, wall: datetime) -> bool:
        """Whether the expression names this naive wall-clock time."""
        return bool(croniter.match(self.expression, wall))


Frequency = Every | Crontab


class UnknownFrequency(ValueError):  # noqa: N818 - the name says what happened
    """A frequency from which no date follows: says which, why, and what to write instead."""

    def __init__(self, frequency: str, why: str) -> None:
        super().__init__(frequency, why)
        self.frequency, self.why = frequency, why

    def __str__(self) -> str:
        return (
            f"frequency {self.frequency!r} cannot be scheduled: {self.why}. Use hourly, daily, weekly, monthly, "
            "two-month, three-month, four-month, six-month, yearly, or five crontab fields such as '0 6 1 * *'"
        )


WORDS: dict[str, Every] = {
    "hourly": Every(1, "hour"),
    "daily": Every(1, "day"),
    "weekly": Every(7, "day"),
    "monthly": Every(1, "month"),
    "two-month": Every(2, "month"),
    "three-month": Every(3, "month"),
    "four-month": Every(4, "month"),
    "six-month": Every(6, "month"),
    "yearly": Every(12, "month"),
}

# R and H are refused because croniter draws new random times for them each time. L and # are refused because it is not
# documented whether Commerce Layer reads them the same way.
_FIELD = r"[0-9*,/\-]+"
_NAMED = r"(?:[0-9*,/\-]|(?i:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC|SUN|MON|TUE|WED|THU|FRI|SAT))+"
_CRONTAB = re.compile(rf"{_FIELD} {_FIELD} {_FIELD} {_NAMED} {_NAMED}", re.ASCII)


def frequency_of(text: str) -> Frequency:
    """The frequency that a text means. Raises UnknownFrequency."""
    plain = " ".join(text.split())
    word = plain.lower().replace("_", "-")
    found = WORDS.get(word) or (WORDS.get(word.removesuffix("s")) if word.endswith("months") else None)
    return found or _crontab(text, plain)


def _crontab(text: str, plain: str) -> Crontab:
    fields = plain.split(" ")
    if len(fields) == 1:
        raise UnknownFrequency(text, "it is not a word that Commerce Layer knows")
    if len(fields) != 5:  # noqa: PLR2004 - crontab has five fields
        raise UnknownFrequency(text, f"a crontab expression has 5 fields, this one has {len(fields)}")
    if not fields[0].isdecimal():
        raise UnknownFrequency(text, "its minute is not one number, so that it would run more than once an hour")
    if not _CRONTAB.fullmatch(plain) or not croniter.is_valid(plain):
        raise UnknownFrequency(text, "it is not a valid crontab expression")
    if (trouble := _misread_range(plain)) is not None:
        raise UnknownFrequency(text, trouble)
    return Crontab(plain)


def _misread_range(plain: str) -> str | None:
    """
    A part that croniter misreads, and why it is refused; None when there is none.

    Seen in croniter 7.0.0: `11-2/3` of the months is November alone, and `5-5` of the weekdays is every day.
    """
    for place, field in enumerate(plain.lower().split(" ")):
        for item in field.split(","):
            if (trouble := _misread(item, croniter.ALPHACONV[place])) is not None:
                return f"{item!r} {trouble}"
    return None


def _misread(item: str, names: Mapping[str, int | str]) -> str | None:
    stretch, _, step = item.partition("/")
    first, is_range, last = (str(names.get(end, end)) for end in stretch.partition("-"))
    if not is_range:
        return "counts on from the last day of the week: write the days one by one" if step and first == "7" else None
    if int(first) == int(last):
        return f"begins where it ends, and would be read as all there are: write {first}"
    if int(first) > int(last) and step:
        return "goes past the end and has a step, so that dates would be lost: write the numbers one by one"
    return None


def same_frequency(one: str | None, other: str | None) -> bool:
    """
    Whether two texts mean the same frequency.

    Upper case, double spaces, `MON` for `1` and plurals make no difference. Unreadable texts are compared as texts.
    """
    if one is None or other is None:
        return one is other
    try:
        first, second = frequency_of(one), frequency_of(other)
    except UnknownFrequency:
        return one.split() == other.split()
    if isinstance(first, Crontab) and isinstance(second, Crontab):
        return bool(croniter.expand(first.expression)[0] == croniter.expand(second.expression)[0])
    return first == second


def restricts_days_twice(frequency: Frequency) -> bool:
    """Whether a crontab names both days of the month and weekdays: then it runs on days that match either."""
    if not isinstance(frequency, Crontab):
        return False
    fields = frequency.expression.split(" ")
    return fields[2] != "*" and fields[4] != "*"
