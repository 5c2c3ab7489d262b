"""
Random histories of one subscription, and what must hold in each of them.

The shop is a list of copies and orders and shares no logic with the rules. Workers die before and after every write,
answers get lost, other runs create copies too, customers pay, postpone and cancel, staff release.
"""

from collections import Counter
from random import Random

import pytest
from rules.random_history import RandomHistory


@pytest.mark.parametrize("chunk", range(2))
def test_every_random_history_places_at_most_one_order_per_period(chunk):
    seen: Counter[str] = Counter()
    for seed in range(chunk * 200, chunk * 200 + 200):
        history = RandomHistory(Random(seed))
        try:
            for _ in range(100):
                history.step()
        except AssertionError as error:
            error.add_note(f"seed {seed}, at {history.now}, state {history.sub.metadata['perennial']}")
            raise
        seen += history.seen
    # Histories without these events would prove nothing.
    rare = {name for name in WORTH_SEEING if not seen[name]}
    assert not rare, seen


WORTH_SEEING = (
    *("renewed", "already_renewed", "in_progress", "retry_scheduled", "needs_attention", "exhausted", "unconfirmed"),
    *("Create", "Wait", "Place", "Conclude", "Hold: target_cancelled", "withdrawn: surplus", "withdrawn: stale"),
    *("died after the announcement", "died after the placement", "died before the record"),
    *("skipped: held", "skipped: retry_not_due", "skipped: not_due", "an unrecorded period is settled first"),
)
