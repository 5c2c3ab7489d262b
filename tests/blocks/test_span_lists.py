"""How all subscriptions but the known ones are asked for, although no filter can hold all known ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.commerce_layer.shares import IDS_AT_ONCE, shares

START = datetime(2026, 1, 1, tzinfo=UTC)


def answer(share: dict[str, str], created: dict[str, datetime], order: list[str]) -> set[str]:
    """What a shop that sorts its ids in this order answers to the filters of a share."""
    rank = {each: place for place, each in enumerate(order)}
    without = set(share.get("id_not_in", "").split(","))
    since = datetime.fromisoformat(share.get("created_at_gteq", "0001-01-01T00:00:00Z"))
    until = datetime.fromisoformat(share.get("created_at_lt", "9999-01-01T00:00:00Z"))
    after, last = rank.get(share.get("id_gt", ""), -1), rank.get(share.get("id_lteq", ""), len(order))
    return {each for each in created if since <= created[each] < until and after < rank[each] <= last} - without


@settings(max_examples=30, deadline=None)
@given(st.integers(0), st.integers(0, 1500), st.integers(1, 40), st.sampled_from((1, 5, 400)))
def test_every_unknown_one_is_in_a_share_in_whatever_order_the_shop_has_its_ids(
    seed: int, count: int, unknown: int, instants: int
) -> None:
    random = Random(seed)
    ids = [f"id{number:04}" for number in range(count + unknown)]
    created = {each: START + timedelta(seconds=random.randrange(instants)) for each in ids}
    new = set(random.sample(ids, unknown))
    order = random.sample(ids, len(ids))

    given_shares = list(shares({each: created[each] for each in ids if each not in new}))

    found = set().union(*(answer(share, created, order) for share in given_shares))
    assert new <= found
    assert all(len(share.get("id_not_in", "").split(",")) <= IDS_AT_ONCE for share in given_shares)


@settings(max_examples=30, deadline=None)
@given(st.integers(0), st.integers(0, 1500), st.sampled_from((1, 5, 400)))
def test_no_known_one_is_listed_again_where_the_order_of_ids_is_that_of_their_text(
    seed: int, count: int, instants: int
) -> None:
    random = Random(seed)
    created = {f"id{number:04}": START + timedelta(seconds=random.randrange(instants)) for number in range(count)}

    given_shares = list(shares(created))

    assert not set().union(*(answer(share, created, sorted(created)) for share in given_shares))
    assert len(given_shares) <= 2 * count // IDS_AT_ONCE + 1


def test_ids_without_a_time_of_creation_are_asked_for_again() -> None:
    assert list(shares({"a": None})) == [{}]
