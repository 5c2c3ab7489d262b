"""
Random lives of one subscription, and what must hold in every one of them.

The shop is a list of copies and orders with none of the rules' thinking in it. Workers die before and after every
write, answers get lost, other runs create copies too, customers pay, postpone and cancel, people release.
"""

from collections import Counter
from random import Random

import pytest
from rules.lives import Life


@pytest.mark.parametrize("chunk", range(2))
def test_whatever_happens_a_period_becomes_one_order_at_most(chunk):
    seen: Counter[str] = Counter()
    for seed in range(chunk * 200, chunk * 200 + 200):
        life = Life(Random(seed))
        try:
            for _ in range(100):
                life.step()
        except AssertionError as error:
            error.add_note(f"in the life of seed {seed}, at {life.now}, state {life.sub.metadata['perennial']}")
            raise
        seen += life.seen
    # Lives in which nothing happens would prove nothing.
    rare = {name for name in WORTH_SEEING if not seen[name]}
    assert not rare, seen


WORTH_SEEING = (
    *("renewed", "already_renewed", "in_progress", "retry_scheduled", "needs_attention", "exhausted", "unconfirmed"),
    *("Create", "Wait", "Place", "Conclude", "Hold: target_cancelled", "withdrawn: surplus", "withdrawn: stale"),
    *("died after the announcement", "died after the placement", "died before the record"),
    *("skipped: held", "skipped: retry_not_due", "skipped: not_due", "an unrecorded period is settled first"),
)
