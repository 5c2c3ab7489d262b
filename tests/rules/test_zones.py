from zoneinfo import ZoneInfo

import pytest
from rules.making import at

from flows.rules.zones import in_words


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ("UTC", "Thu 26 Nov 08:00 UTC"),
        ("Europe/Rome", "Thu 26 Nov 09:00 CET"),
        ("Asia/Kathmandu", "Thu 26 Nov 13:45 UTC+0545"),
        ("America/Sao_Paulo", "Thu 26 Nov 05:00 UTC-03"),
        ("Pacific/Kiritimati", "Thu 26 Nov 22:00 UTC+14"),
    ],
)
def test_an_instant_is_told_in_the_merchants_zone(zone, words):
    assert in_words(at("2026-11-26T08:00"), ZoneInfo(zone)) == words
