from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flows.rules.batches import batches

ids = st.lists(st.text("abcdefghijklmnop", min_size=3, max_size=10), unique=True, max_size=300)


@given(ids, st.integers(1, 60))
def test_each_subscription_is_in_exactly_one_batch_in_the_given_order(due: list[str], size: int) -> None:
    split = batches(due, size)

    assert [each for batch in split for each in batch] == due
    assert all(len(batch) == size for batch in split[:-1])
    assert all(0 < len(batch) <= size for batch in split)
