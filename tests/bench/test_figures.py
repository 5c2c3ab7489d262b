from __future__ import annotations

from dataclasses import replace

import pytest
from bench.figures import TEN_TIMES_AS_MANY, Figures, Round, share_of_limit, targets_of
from bench.page import markdown, svg
from bench.retention import Day, Kept


def test_a_contestant_that_sends_all_it_may_has_used_the_whole_limit() -> None:
    writes = [window * 6.0 + step * 0.01 for window in range(5) for step in range(100)]

    assert share_of_limit(writes, writes[-1], 6.0, 100) == 1.0


def test_a_pause_of_half_a_window_costs_its_share() -> None:
    writes = [0.06 * step for step in range(100)] + [9.0 + 0.06 * step for step in range(100)]

    assert share_of_limit(writes, 15.0, 6.0, 100) == pytest.approx(6 / 9)


def test_writes_after_the_last_creation_do_not_count_as_waiting_work() -> None:
    busy = [0.06 * step for step in range(200)]
    idle = [60.0, 70.0, 80.0]

    assert share_of_limit([*busy, *idle], 12.0, 6.0, 100) == pytest.approx(1.0)


def test_the_share_does_not_depend_on_how_a_round_falls_into_windows() -> None:
    busy = [6.3 * (number // 100) + 0.01 * (number % 100) for number in range(450)]

    shares = {share_of_limit(busy, last, 6.0, 100) for last in (18.9, 19.5, 24.0, 25.1)}

    assert len({round(share or 0.0, 6) for share in shares}) == 1


@pytest.mark.parametrize(("writes", "last_create"), [([], 0.0), ([1.0, 2.0], 2.0)], ids=["nothing", "too short"])
def test_a_round_shorter_than_a_window_has_no_share_of_the_limit(writes: list[float], last_create: float) -> None:
    assert share_of_limit(writes, last_create, 6.0, 100) is None


def test_the_page_and_the_plot_name_every_contestant_and_why_one_is_missing() -> None:
    round_ = Round("With <limits>", 10, limited=True, window_scale=0.1, copy_seconds=1)
    results = [(round_, [figures("ours", 10.0), figures("theirs", 20.0)])]

    page, plot = (
        markdown(results, "The sandbox does a lot.", ["here"], ["The other one did not take part: it is ill."]),
        svg(results),
    )

    assert "| ours " in page
    assert "| theirs " in page
    assert "| 0.50  |" in page
    assert "it is ill" in page
    assert "60 a minute" in plot
    assert "With &lt;limits&gt;" in plot


def test_the_page_shows_what_the_prefect_server_keeps_and_of_the_days_every_fifteenth() -> None:
    round_ = Round("limited", 10, limited=True, window_scale=0.1, copy_seconds=1)
    days = [Day(number, 2_000_000 + number, 90, 2_250, 18) for number in range(1, 31)]
    kept = Kept(37_191, 22_446, 10_076, days)

    page = markdown([(round_, [figures("ours", 10.0)])], "It does a lot.", ["here"], [], kept)

    assert "37 KB at once, 22 KB after a day" in page
    assert "10 KB after a week" in page
    shown = [line.split("|")[1].strip() for line in page.splitlines() if line.endswith("| 18     |")]
    assert shown == ["1", "15", "30"]


def test_a_missed_target_says_by_how_much_and_what_bounds_it() -> None:
    limited = Round("limited", 10, limited=True, window_scale=0.1, copy_seconds=10)
    unlimited = Round("unlimited", 10, limited=False, window_scale=1, copy_seconds=1)
    slow = replace(figures("ours", 1.0), share_of_limit=0.95, reads=4, server_cpu_seconds=0.5, task_runs=40)
    many = replace(slow, contestant=TEN_TIMES_AS_MANY, renewals=100, reads=42, cpu_seconds=10.0)

    short = {each.target: each.sentence for each in targets_of(limited, [slow]) if not each.met}
    later = {each.target: each.sentence for each in targets_of(unlimited, [slow, many]) if not each.met}

    assert short["at least 97% of the limit"].startswith("95.0%, 2.0 points short: places lay idle for 0.1 s")
    assert short["at most 0.3 reads per renewal"] == "0.40, 0.10 too many"
    assert later["at least 30 renewals a second"].startswith("10.0, 20.0 short")
    assert "One core for our process allows 10 a second" in later["at least 30 renewals a second"]
    (grown,) = [each for each in targets_of(unlimited, [slow, many]) if "tenth more" in each.target]
    assert grown.met
    assert grown.sentence.startswith("+5% reads, +0% CPU")


def test_what_a_renewal_takes_in_the_database_is_shown_and_held_to_its_target() -> None:
    round_ = Round("unlimited", 10, limited=False, window_scale=1, copy_seconds=1)
    small = replace(figures("Perennial", 1.0), database_bytes=140_000)
    large = replace(small, contestant="Perennial, on PostgreSQL", database_bytes=200_000)

    met = {each.target: (each.met, each.sentence) for each in targets_of(round_, [small, large])}

    assert met["at most 15 KB of database per renewal (Perennial)"] == (True, "14 KB")
    assert met["at most 15 KB of database per renewal (Perennial, on PostgreSQL)"] == (False, "20 KB")
    assert "| 14 KB " in markdown([(round_, [small, large])], "", [], [])


def figures(name: str, seconds: float) -> Figures:
    return Figures(
        contestant=name,
        renewals=10,
        seconds=seconds,
        writes=30,
        reads=3,
        throttled=0,
        cpu_seconds=1.0,
        server_cpu_seconds=None,
        sandbox_cpu_seconds=None,
        peak_megabytes=50.0,
        share_of_limit=0.98,
    )
