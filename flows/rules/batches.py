"""How a large sweep is split, so that several workers can share it."""

from collections.abc import Sequence


def batches(subscription_ids: Sequence[str], size: int) -> list[list[str]]:
    """Split into batches of at most `size`; each subscription is in exactly one."""
    return [list(subscription_ids[start : start + size]) for start in range(0, len(subscription_ids), size)]
