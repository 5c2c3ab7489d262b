from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flows.rules.batches import batches
from flows.rules.references import SHARDS, shard_of

ids = st.lists(st.text("abcdefghijklmnop", min_size=3, max_size=10), unique=True, max_size=300)


@given(ids, st.integers(1, 60))
def test_everybody_is_in_exactly_one_batch_and_none_is_too_large(due: list[str], size: int) -> None:
    split = batches(due, size)

    assert sorted(each for batch in split for each in batch) == sorted(due)
    assert all(0 < len(batch) <= size for batch in split)


@given(ids, st.integers(1, 60))
def test_a_shard_that_fits_into_a_batch_is_in_one_batch_only(due: list[str], size: int) -> None:
    split = batches(due, size)

    for shard in range(SHARDS):
        members = {each for each in due if shard_of(each) == shard}
        if len(members) <= size:
            assert sum(bool(members & set(batch)) for batch in split) <= 1


def test_four_batches_side_by_side_seldom_meet_in_a_shard() -> None:
    due = [f"sub{number:07d}" for number in range(20_000)]

    split = batches(due, 500)

    meetings = sum(
        bool(shards_of(one) & shards_of(other))
        for start in range(0, len(split) - 4, 4)
        for i, one in enumerate(split[start : start + 4])
        for other in split[start : start + 4][:i]
    )
    assert len(split) <= 1.3 * 20_000 / 500
    assert meetings <= 2


def shards_of(batch: list[str]) -> set[int]:
    return {shard_of(each) for each in batch}
