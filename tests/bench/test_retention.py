from __future__ import annotations

import pytest
from bench.retention import Day, Kept, measure

DAYS, RUNS_KEPT, EVENTS_KEPT, WEIGHED = 6, 3, 2, 20

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def kept() -> Kept:
    """What is kept on fewer days, with shorter times than those of the recipe."""
    times = {"--days": DAYS, "--runs-kept": RUNS_KEPT, "--events-kept": EVENTS_KEPT, "--weighed": WEIGHED}
    return measure(*(str(part) for option in times.items() for part in option))


@pytest.mark.slow
def test_a_prefect_server_stops_growing_once_the_retention_time_has_passed(kept: Kept) -> None:
    growing = [day.flow_runs for day in kept.days[: RUNS_KEPT - 1]]
    settled = kept.days[RUNS_KEPT - 1 :]

    assert growing == [1, 2]
    assert {day.flow_runs for day in settled} == {RUNS_KEPT - 1}
    assert len({day.task_runs for day in settled}) == 1
    assert kept.is_flat(RUNS_KEPT)


@pytest.mark.slow
def test_a_renewal_keeps_less_once_the_events_of_its_task_runs_and_then_its_own_are_removed(
    kept: Kept,
) -> None:
    assert kept.at_once > kept.after_a_day > kept.after_the_events > 0


@pytest.mark.parametrize(
    ("sizes", "flat"),
    [([10, 20, 30, 30, 31], True), ([10, 20, 30, 33, 36], False), ([10, 20, 30], False)],
    ids=["stays", "grows on", "ends too early"],
)
def test_the_size_is_flat_if_no_day_after_the_retention_time_needs_more(sizes: list[int], flat: bool) -> None:  # noqa: FBT001 - given by pytest
    days = [Day(number, size, 0, 0, 0) for number, size in enumerate(sizes, start=1)]

    assert Kept(3, 2, 1, days).is_flat(runs_kept=3) is flat
