from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from flows.rules.spans import EmptySpan, span_of

ROME = ZoneInfo("Europe/Rome")


def test_the_last_day_belongs_to_the_span() -> None:
    span = span_of(date(2026, 3, 1), date(2026, 3, 31), ZoneInfo("UTC"))

    assert datetime(2026, 3, 1, tzinfo=UTC) in span
    assert datetime(2026, 3, 31, 23, 59, tzinfo=UTC) in span
    assert datetime(2026, 4, 1, tzinfo=UTC) not in span


def test_a_day_begins_where_the_merchant_is_also_when_clocks_change_in_between() -> None:
    span = span_of(date(2026, 3, 28), date(2026, 3, 29), ROME)

    assert (span.start, span.end - span.start) == (datetime(2026, 3, 27, 23, tzinfo=UTC), timedelta(hours=47))
    assert span.in_words(ROME) == "Sat 28 Mar 00:00 CET 2026 to Mon 30 Mar 00:00 CEST 2026"


def test_an_instant_is_itself_whatever_the_zone() -> None:
    start, end = datetime(2026, 3, 1, 6, tzinfo=UTC), datetime(2026, 3, 1, 7, tzinfo=UTC)

    assert (span_of(start, end, ROME).start, span_of(start, end, ROME).end) == (start, end)


def test_one_day_is_a_span() -> None:
    span = span_of(date(2026, 3, 1), date(2026, 3, 1), ROME)

    assert span.end - span.start == timedelta(days=1)


@pytest.mark.parametrize("last", ["2026-02-01", "2026-02-28"])
def test_a_span_that_ends_before_it_begins_is_refused_with_both_ends(last: str) -> None:
    with pytest.raises(EmptySpan, match=rf"ends \({last}\) before it begins \(2026-03-01\)\. Exchange"):
        span_of(date(2026, 3, 1), date.fromisoformat(last), ROME)


def test_a_span_that_ends_where_it_begins_is_refused() -> None:
    instant = datetime(2026, 3, 1, 6, tzinfo=UTC)

    with pytest.raises(EmptySpan, match=r"it ends where it begins \(2026-03-01T06:00Z\)\. Give a later --to"):
        span_of(instant, instant, ROME)
