from __future__ import annotations

import pytest
from bench.figures import Figures, Round, share_of_limit
from bench.page import markdown, svg


def test_a_contestant_that_sends_all_it_may_has_used_the_whole_limit() -> None:
    writes = [window * 6.0 + step * 0.01 for window in range(5) for step in range(100)]

    assert share_of_limit(writes, writes[-1], 6.0, 100) == 1.0


def test_a_pause_of_half_a_window_costs_its_share() -> None:
    writes = [0.06 * step for step in range(100)] + [9.0 + 0.06 * step for step in range(100)]

    assert share_of_limit(writes, 12.0, 6.0, 100) == pytest.approx(0.75, abs=0.01)


def test_writes_after_the_last_creation_do_not_count_as_waiting_work() -> None:
    busy = [0.06 * step for step in range(200)]
    idle = [60.0, 70.0, 80.0]

    assert share_of_limit([*busy, *idle], 12.0, 6.0, 100) == 1.0


@pytest.mark.parametrize(("writes", "last_create"), [([], 0.0), ([1.0, 2.0], 2.0)], ids=["nothing", "too short"])
def test_a_round_shorter_than_a_window_says_nothing_about_the_limit(writes: list[float], last_create: float) -> None:
    assert share_of_limit(writes, last_create, 6.0, 100) is None


def test_the_page_and_the_plot_name_every_contestant_and_why_one_is_missing() -> None:
    race = Round("With <limits>", 10, limited=True, window_scale=0.1, copy_seconds=1)
    results = [(race, [figures("ours", 10.0), figures("theirs", 20.0)])]

    page, plot = markdown(results, 100.0, ["here"], ["The other one did not take part: it is ill."]), svg(results)

    assert "| ours " in page
    assert "| theirs " in page
    assert "| 0.50  |" in page
    assert "it is ill" in page
    assert "60 a minute" in plot
    assert "With &lt;limits&gt;" in plot


def figures(name: str, seconds: float) -> Figures:
    return Figures(
        contestant=name,
        renewals=10,
        seconds=seconds,
        writes=20,
        reads=3,
        throttled=0,
        cpu_seconds=1.0,
        server_cpu_seconds=None,
        sandbox_cpu_seconds=None,
        peak_megabytes=50.0,
        share_of_limit=0.98,
    )
