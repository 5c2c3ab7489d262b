"""How a large sweep is split, so that several workers can share it without getting into each other's way."""

from collections import defaultdict
from collections.abc import Sequence

from flows.rules.references import shard_of


def batches(subscription_ids: Sequence[str], size: int) -> list[list[str]]:
    """
    Split by shard into batches of at most `size`; everybody is in exactly one.

    Workers exclude each other per shard. So a batch has whole shards where they fit, and the parts of a shard that
    does not fit are kept far apart: first the first parts of all shards, then the second ones.
    """
    rounds: defaultdict[int, list[list[str]]] = defaultdict(list)
    for members in _by_shard(subscription_ids):
        for number, start in enumerate(range(0, len(members), size)):
            rounds[number].append(members[start : start + size])
    packed: list[list[str]] = []
    for number in sorted(rounds):
        packed += _packed(rounds[number], size)
    return packed


def _by_shard(subscription_ids: Sequence[str]) -> list[list[str]]:
    shards: defaultdict[int, list[str]] = defaultdict(list)
    for subscription_id in subscription_ids:
        shards[shard_of(subscription_id)].append(subscription_id)
    return [shards[shard] for shard in sorted(shards)]


def _packed(parts: Sequence[list[str]], size: int) -> list[list[str]]:
    packed: list[list[str]] = []
    for part in parts:
        if packed and len(packed[-1]) + len(part) <= size:
            packed[-1] = packed[-1] + part
        else:
            packed.append(part)
    return packed
